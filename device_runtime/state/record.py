"""The layout of the device's own small files, which a checksum guards as a whole.

Little-endian: 8 bytes of magic, uint32 schema, uint32 K, uint32 length of the JSON that follows, the JSON, float32
[n, K], SHA-256 of all that is before it.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from device_runtime.errors import StateError

Kind = TypeVar("Kind")

_HEADER = struct.Struct("<8sIII")
_DIGEST = 32


def pack(magic: bytes, schema: int, facts: dict[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """facts: plain types. arrays: n of them, [K] float32."""
    text = json.dumps(facts, separators=(",", ":")).encode()
    body = _HEADER.pack(magic, schema, len(arrays[0]), len(text)) + text
    body += np.concatenate(arrays).astype("<f4").tobytes()
    return body + hashlib.sha256(body).digest()


def unpack(content: bytes, magic: bytes, schema: int, count: int) -> tuple[Any, list[np.ndarray]]:
    """The facts, and `count` arrays [K] float32.

    Raises:
      StateError: the bytes are not whole, of another kind or of another schema.
    """
    if len(content) < _HEADER.size + _DIGEST or content[:8] != magic:
        raise StateError(f"not a file of the kind {magic[:-1].decode()} ({len(content)} bytes)")
    _, found, length, text_size = _HEADER.unpack_from(content)
    if found != schema:
        raise StateError(f"expected schema {schema}, got {found}")
    body, values = content[:-_DIGEST], _HEADER.size + text_size
    if len(body) != values + 4 * count * length or hashlib.sha256(body).digest() != content[-_DIGEST:]:
        raise StateError("damaged: its length or checksum is wrong")
    arrays = np.frombuffer(body, "<f4", offset=values).astype(np.float32).reshape(count, length)
    try:
        return json.loads(body[_HEADER.size : values]), [row.copy() for row in arrays]
    except ValueError as error:
        raise StateError(f"damaged: it holds no JSON ({error})") from error


def typed(kind: type[Kind], facts: Mapping[str, Any], **made: Any) -> Kind:
    """A dataclass made of what a record holds, and of `made`, which came from elsewhere.

    Raises:
      ValueError: a field is missing or unknown, or its value is not of the field's type; whole numbers count
        something, so they are never negative.
    """
    hints = get_type_hints(kind)
    different = (set(facts) | set(made)) ^ set(hints)
    if different:
        raise ValueError(f"{min(different)} is missing or unknown")
    for name, value in facts.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} is {value!r:.50}")
    return kind(**facts, **made)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:  # of any length
        return isinstance(value, tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if hint is int:
        return type(value) is int and 0 <= value < 2**63
    if hint is float:
        return type(value) in (int, float)
    return isinstance(value, get_origin(hint) or hint)

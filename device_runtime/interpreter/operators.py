"""Which operators a .tflite file holds, read from its flatbuffer without an interpreter.

A file that needs the Flex delegate, or was cut short, is recognised here in words; the interpreters answer such
files with a C++ message or a crash. Tables and field numbers are those of tensorflow/lite/schema/schema.fbs.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device_runtime.errors import ModelError, UnsupportedOperatorError
from device_runtime.interpreter.builtin_names import BUILTIN_NAMES

IDENTIFIER = b"TFL3"
_CUSTOM = BUILTIN_NAMES.index("CUSTOM")
_PLACEHOLDER = 127  # the largest code of the old int8 field; larger ones stand in the newer int32 field


@dataclass(frozen=True)
class OperatorUse:
    """One entry of the file's operator table."""

    name: str  # the builtin's name, or the custom code
    code: int  # BuiltinOperator of the schema
    version: int
    custom: bool
    counts: tuple[int, ...]  # uses in each subgraph

    @property
    def flex(self) -> bool:
        """Whether it is a TensorFlow operator that only the Flex delegate runs."""
        return self.custom and self.name.startswith("Flex")


@dataclass(frozen=True)
class ModelOutline:
    """What can be said of a model without running it."""

    operators: tuple[OperatorUse, ...]
    subgraphs: tuple[str, ...]  # names
    signatures: dict[str, int]  # signature to the index of its subgraph
    echoes: tuple[str, ...]  # signatures of which an output is the very tensor of an input


def read_operators(model: bytes | Path) -> tuple[OperatorUse, ...]:
    """The operators of all subgraphs. Raises ModelError if the model is not a whole .tflite file."""
    return read_outline(model).operators


def read_outline(model: bytes | Path) -> ModelOutline:
    """Operators, subgraphs and signatures of a model.

    Args:
      model: its bytes, or the path of its file, of which only a few pages are read.

    Raises:
      ModelError: it is not a .tflite file, or was cut short.
    """
    if not isinstance(model, Path):
        return _checked_outline(model)
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _checked_outline(content)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise ModelError(f"model: {model} cannot be read ({error})") from error


def _checked_outline(model: bytes | mmap.mmap) -> ModelOutline:
    if model[4:8] != IDENTIFIER:
        raise ModelError(
            f"model: expected a .tflite file (bytes 4 to 8 are {IDENTIFIER!r}), got {len(model)} bytes with "
            f"{bytes(model[4:8])!r} there; download or export it again"
        )
    try:
        return _outline(_Table(model, _u32(model, 0)))
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise ModelError(
            f"model: the .tflite file of {len(model)} bytes is cut short or damaged ({error}); "
            "download or export it again"
        ) from error


def require_builtins(model: bytes | Path) -> None:
    """Raises UnsupportedOperatorError if the model has an operator that the plain wheels cannot run (and
    ModelError as `read_outline` does)."""
    custom = [use for use in read_operators(model) if use.custom]
    flex = sorted(use.name for use in custom if use.flex)
    if flex:
        raise UnsupportedOperatorError(
            f"model: needs the Flex delegate for {', '.join(flex)}, which the TFLite wheels do not carry; "
            "export it again with this toolkit"
        )
    if custom:
        names = ", ".join(sorted(use.name for use in custom))
        raise UnsupportedOperatorError(
            f"model: needs the custom operators {names}, which the TFLite wheels do not carry; "
            "export it again with this toolkit"
        )


class _Table:
    """A flatbuffer table: fields by number, each absent or at an absolute position."""

    def __init__(self, buffer: bytes | mmap.mmap, position: int) -> None:
        self.buffer, self.position = buffer, position
        self.vtable = position - struct.unpack_from("<i", buffer, position)[0]
        if self.vtable < 0:
            raise IndexError(f"table at {position} points before the file")
        self.vtable_size = struct.unpack_from("<H", buffer, self.vtable)[0]

    def at(self, field: int) -> int:
        """Absolute position of a field, 0 if it is absent."""
        entry = 4 + 2 * field
        if entry >= self.vtable_size:
            return 0
        offset = struct.unpack_from("<H", self.buffer, self.vtable + entry)[0]
        return self.position + offset if offset else 0

    def scalar(self, field: int, kind: str, default: int) -> int:
        position = self.at(field)
        return struct.unpack_from("<" + kind, self.buffer, position)[0] if position else default

    def vector(self, field: int) -> tuple[int, int]:
        """Absolute position of a vector's first element, and its length."""
        position = self.at(field)
        if not position:
            return 0, 0
        start = position + _u32(self.buffer, position)
        return start + 4, _u32(self.buffer, start)

    def text(self, field: int) -> str:
        start, size = self.vector(field)
        return bytes(self.buffer[start : start + size]).decode()

    def numbers(self, field: int) -> tuple[int, ...]:
        """A vector of int32."""
        start, size = self.vector(field)
        return struct.unpack_from(f"<{size}i", self.buffer, start)

    def tables(self, field: int) -> Iterator["_Table"]:
        start, size = self.vector(field)
        if start + 4 * size > len(self.buffer):
            raise IndexError(f"{size} tables at {start} reach past the end")
        for position in range(start, start + 4 * size, 4):
            yield _Table(self.buffer, position + _u32(self.buffer, position))


def _u32(buffer: bytes | mmap.mmap, position: int) -> int:
    return struct.unpack_from("<I", buffer, position)[0]


def _outline(model: _Table) -> ModelOutline:
    # Model: 1 operator_codes, 2 subgraphs, 4 buffers, 7 signature_defs.
    codes = list(model.tables(1))
    subgraphs = list(model.tables(2))
    counts = [[0] * len(subgraphs) for _ in codes]
    for index, subgraph in enumerate(subgraphs):
        for operator in subgraph.tables(3):  # Operator: 0 opcode_index
            counts[operator.scalar(0, "I", 0)][index] += 1
    for number, buffer in enumerate(model.tables(4)):  # Buffer: 0 data; 1 offset, 2 size outside the flatbuffer
        start, size = buffer.vector(0)
        end = max(start + size, buffer.scalar(1, "Q", 0) + buffer.scalar(2, "Q", 0))
        if end > len(model.buffer):
            raise IndexError(f"buffer {number} ends at byte {end}")
    signatures = {signature.text(2): signature.scalar(4, "I", 0) for signature in model.tables(7)}
    # SubGraph: 1 inputs, 2 outputs.
    echoing = [bool(set(subgraph.numbers(1)) & set(subgraph.numbers(2))) for subgraph in subgraphs]
    return ModelOutline(
        operators=tuple(_use(code, tuple(count)) for code, count in zip(codes, counts, strict=True)),
        subgraphs=tuple(subgraph.text(4) for subgraph in subgraphs),
        signatures=signatures,
        echoes=tuple(name for name, index in signatures.items() if echoing[index]),
    )


def _use(code: _Table, counts: tuple[int, ...]) -> OperatorUse:
    # OperatorCode: 0 deprecated_builtin_code, 1 custom_code, 2 version, 3 builtin_code.
    old, new = code.scalar(0, "b", 0), code.scalar(3, "i", 0)
    number = old if old < _PLACEHOLDER and not new else max(old, new)
    custom = number == _CUSTOM
    if custom:
        name = code.text(1)
    else:
        name = BUILTIN_NAMES[number] if 0 <= number < len(BUILTIN_NAMES) else f"BUILTIN_{number}"
    return OperatorUse(name, number, code.scalar(2, "i", 1), custom, counts)

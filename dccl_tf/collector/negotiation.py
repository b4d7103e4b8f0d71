"""What a request's headers ask of a file: content coding, entity tags, ranges (RFC 9110)."""

import re
from collections.abc import Collection

PREFERRED = ("br", "gzip")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TAG = re.compile(r'"([^"]*)"')


class UnsatisfiableRange(ValueError):
    """The range begins after the end."""


def coding(accept_encoding: str | None, available: Collection[str]) -> str:
    """The content coding to answer with: the best one that is available and asked for, or "identity"."""
    weights = {}
    for part in (accept_encoding or "").lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = 0.0 if re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter) else 1.0
    for name in PREFERRED:
        if name in available and weights.get(name, weights.get("*", 0.0)):
            return name
    return "identity"


def tags(header: str | None) -> list[str]:
    """The entity tags of If-None-Match or If-Range, without quotes and weakness; `*` is a tag of that name."""
    if header is not None and header.strip() == "*":
        return ["*"]
    return _TAG.findall(header or "")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the count that a Range header asks for; None for all of it, which also answers several
    ranges and nonsense.

    Raises:
      UnsatisfiableRange: there is nothing in it.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if not match or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < begin:
            return None
    if begin >= end:
        raise UnsatisfiableRange(f"range: expected some of {size} bytes, got {header}")
    return begin, end - begin

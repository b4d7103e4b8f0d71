"""Seeded damage: to bytes, as disks and networks do it, and to arguments, as programs do it."""

import datetime
import decimal
import math
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content after one to four acts of damage; it may come out as it was."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(_DAMAGES)(content, chance)
    return content


def _flip(content: bytes, chance: random.Random) -> bytes:
    if not content:
        return content
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _remove(content: bytes, chance: random.Random) -> bytes:
    begin, end = _range(content, chance)
    return content[:begin] + content[end:]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    begin, end = _range(content, chance)
    return content[:end] + content[begin:]


def _zero(content: bytes, chance: random.Random) -> bytes:
    begin, end = _range(content, chance)
    return content[:begin] + bytes(end - begin) + content[end:]


def _noise(content: bytes, chance: random.Random) -> bytes:
    begin, end = _range(content, chance)
    return content[:begin] + chance.randbytes(end - begin) + content[end:]


def _edge(content: bytes, chance: random.Random) -> bytes:
    """A number that breaks arithmetic, where a length or an offset may stand."""
    place = chance.randrange(len(content) + 1)
    return content[:place] + struct.pack("<I", chance.choice(_EDGES)) + content[place + 4 :]


def _append(content: bytes, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.randrange(1, 64))


def _replace(content: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(4096))


_DAMAGES = (_flip, _flip, _flip, _cut, _remove, _repeat, _zero, _noise, _edge, _edge, _append, _replace)


def _range(content: bytes, chance: random.Random) -> tuple[int, int]:
    begin = chance.randrange(len(content) + 1)
    return begin, min(len(content), begin + chance.choice((1, 4, 16, 256, 4096)))


def hostile(chance: random.Random) -> Any:
    """An argument that some program has passed somewhere."""
    return chance.choice(_ARGUMENTS)()


def hostile_json(chance: random.Random) -> Any:
    """A value that JSON can hold."""
    return chance.choice(_JSON_VALUES)


_JSON_VALUES = (None, True, 0, -1, 1, 2**31, 2**63, 2**64, 1e308, -0.5, math.nan, math.inf, *("", "x", "00", "é\0"))
_JSON_VALUES += ("f" * 64, [], {}, [1], {"a": 1}, [[]])


def _selfish() -> list:
    one: list = []
    one.append(one)
    return one


_ARGUMENTS: tuple[Callable[[], Any], ...] = (
    *(lambda value=value: value for value in (None, True, False, 0, 1, 2, -1, 3.5, -0.0, 101, 101.0, 10**6, 2**31 - 1)),
    *(lambda value=value: value for value in (2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400, 1e300, 1e-320)),
    *(lambda value=value: value for value in (float("nan"), float("inf"), -float("inf"), 1j, decimal.Decimal("1.5"))),
    *(lambda value=value: value for value in ("", "101", "a", "old", "é", "\0", "\ud800", "x" * 10**5, b"", b"k" * 32)),
    *(
        lambda value=value: value
        for value in ((), (101,), range(3), range(101, 106), frozenset(), object, datetime.date.min)
    ),
    *(
        lambda value=value: np.array(value)
        for value in (101, [101], [[101]], [], [1.5], [np.nan], ["a"], [None], [True])
    ),
    *(lambda value=value: value for value in (np.float64("nan"), np.int64(101), np.uint64(2**64 - 1), np.bool_(True))),
    lambda: np.zeros(4, np.float32),
    lambda: np.full(4, np.nan, np.float32),
    lambda: np.zeros(600, np.float32),
    lambda: np.zeros((4, 4), np.int64),
    lambda: np.arange(101, 10**5, dtype=np.int32),
    lambda: np.array([(1, 2)], dtype=[("a", int), ("b", int)]),
    lambda: np.array(["2001-01-01"], "M8[s]"),
    list,
    dict,
    set,
    object,
    bytearray,
    lambda: [None],
    lambda: [101, "101"],
    lambda: [101, None],
    lambda: [[101], [102]],
    lambda: [float("nan")],
    lambda: [-1],
    lambda: [2**64],
    lambda: list(range(101, 5000)),
    lambda: {101: 1},
    lambda: {"age": "old"},
    lambda: {"age": object()},
    lambda: {"age": float("nan")},
    lambda: {1: "old"},
    lambda: {"age": "\ud800"},
    lambda: iter([101, 102]),
    lambda: (value for value in [101, None]),
    lambda: memoryview(b"abc"),
    lambda: lambda *_: None,
    _selfish,
)

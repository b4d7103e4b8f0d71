"""Checks what an app logs, all rows before any is written, and names the row that is wrong."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from device_runtime.bundle.vocabulary import RawId, Vocabulary
from device_runtime.errors import InputError
from device_runtime.log.samples import Interaction

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def interactions(
    vocabulary: Vocabulary,
    items: Sequence[RawId],
    labels: Sequence[int] | None,
    skipped: Sequence[Sequence[RawId]] | None,
    timestamps: Sequence[int] | None,
    now: int,
) -> list[Interaction]:
    """N interactions as they will be stored; see `Device.log_many` for the arguments.

    Raises:
      InputError: the columns differ in length, an id is not of the vocabulary's kind or negative, a label is
        neither 0 nor 1, a timestamp is no whole number, or an item is said to be chosen and skipped at once.
    """
    ids = vocabulary.raw_ids("item", items)
    columns = {"labels": labels, "skipped": skipped, "timestamps": timestamps}
    for name, column in columns.items():
        if column is not None and not _is_list(column):
            raise InputError(f"{name}: expected a list of values, one for each item, got {type(column).__name__}")
        if column is not None and len(column) != len(ids):
            raise InputError(f"{name}: expected {len(ids)} values, one for each item, got {len(column)}")
    rows = []
    for row, item in enumerate(ids):
        beside = () if skipped is None else tuple(vocabulary.raw_ids(f"skipped (row {row})", skipped[row]))
        if item in beside:
            raise InputError(f"skipped (row {row}): expected other items than the one chosen, got {item!r}")
        label = 1 if labels is None else _label(row, labels[row])
        timestamp = now if timestamps is None else _timestamp(row, timestamps[row])
        rows.append(Interaction(item, label, timestamp, beside))
    return rows


def _is_list(column: Any) -> bool:
    if isinstance(column, (str, bytes, Mapping)) or not isinstance(column, Collection):
        return False
    return getattr(column, "ndim", 1) > 0  # NumPy's scalars claim a length


def _label(row: int, value: Any) -> int:
    if isinstance(value, (Real, np.bool_)) and value in (0, 1):  # NaN equals nothing
        return int(value)
    raise InputError(f"label (row {row}): expected 0 or 1, got {value!r}")


def _timestamp(row: int, value: Any) -> int:
    whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    if not whole or isinstance(value, bool) or not _SMALLEST <= value <= _LARGEST:
        raise InputError(f"timestamp (row {row}): expected whole seconds, got {value!r}")
    return int(value)

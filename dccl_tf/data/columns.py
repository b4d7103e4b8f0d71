"""Columns of text or numbers to checked arrays; what is wrong is said with file, line, column and value."""

import codecs
import csv
import gzip
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np
import pandas as pd

LONGEST_ID = 500  # characters; NumPy gives every distinct id the room of the longest
WHOLE_NUMBER = r"-?(?:0|[1-9]\d*)"  # as a program prints it
MICROS, NANOS = 10**6, 10**9  # in a second
_EXACT = 2**53  # from here on floats leave whole numbers out
_NO_SCALAR = (list, tuple, dict, np.ndarray, bytes)  # what a cell of Parquet may be beside text and numbers
_FITTING = "a time whose microseconds fit into 64 bits"
_SHOWN = 80  # characters of a value in an error


@dataclass(frozen=True)
class Column:
    """One column of a file: its values, and how to name the place of one of them."""

    values: pd.Series
    file: str
    name: str
    place: Callable[[int], str]  # 0-based row to "line 7"

    def refuse(self, row: int, expected: str) -> NoReturn:
        """Raises the error for one row.

        Raises:
          ValueError: always.
        """
        value = self.values.iloc[row]
        shown = "nothing" if _is_null(value) else repr(value.item() if isinstance(value, np.generic) else value)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}... ({len(str(value)):,} characters)"
        raise ValueError(f"{self.file}, {self.place(row)}, column {self.name!r}: expected {expected}, got {shown}")

    def refuse_first(self, wrong: np.ndarray, expected: str) -> None:
        """Raises the error for the first row [N] that is marked, if there is one."""
        if wrong.any():
            self.refuse(int(wrong.argmax()), expected)

    def refuse_nested(self, expected: str, lists: bool = False) -> None:
        """Raises the error for the first cell that is neither one value nor, with `lists`, a list of values."""

        def wrong(cell: object) -> bool:
            parts = cell if lists and isinstance(cell, (list, np.ndarray)) else [cell]
            return any(isinstance(part, _NO_SCALAR) for part in parts)

        if self.values.dtype == object:
            self.refuse_first(self.values.map(wrong).to_numpy(bool), expected)

    @property
    def nulls(self) -> np.ndarray:
        """[N] bool: no value, or empty text."""
        nulls = self.values.isna().to_numpy()
        return nulls | (self.values == "").fillna(False).to_numpy() if self.is_text else nulls

    @property
    def is_text(self) -> bool:
        return pd.api.types.is_string_dtype(self.values.dtype) or self.values.dtype == object


def ids(column: Column, kind: str = "auto") -> np.ndarray:
    """Ids [N] as int64, or as text: str objects, so that one long id does not widen all.

    Args:
      column: whole numbers or text.
      kind: "auto" takes text for numbers if every value is a whole number; "text" keeps it text.

    Raises:
      ValueError: an id that is empty, too long or has a zero byte, a number that is not whole, or numbers and text
        mixed.
    """
    column.refuse_nested("an id that is a whole number or text")
    column.refuse_first(column.nulls, "an id")
    if not column.is_text:
        numbers = column.values.to_numpy()
        if kind == "text" and numbers.dtype == np.uint64:  # as text no number is too large
            return numbers.astype(str).astype(object)
        numbers = _whole(column, numbers, "an id that is a whole number or text")
        return numbers.astype(str).astype(object) if kind == "text" else numbers
    text = column.values.astype(str)
    column.refuse_first((text.str.len() > LONGEST_ID).to_numpy(bool), f"an id of at most {LONGEST_ID} characters")
    if kind == "auto":
        numeric = text.str.fullmatch(WHOLE_NUMBER).to_numpy(bool)
        if numeric.all():
            with suppress(OverflowError, ValueError):  # beyond int64 it is text: hashes of 20 digits, say
                return text.astype(np.int64).to_numpy()
        elif numeric.any():
            first = "a whole number, as in the first row" if numeric[0] else "text, as in the first row"
            column.refuse_first(numeric != numeric[0], f"{first} (or id_type 'text' for ids of both forms)")
    column.refuse_first(text.str.contains("\0", regex=False).to_numpy(bool), "an id without zero bytes")
    return text.to_numpy(object)


@dataclass(frozen=True)
class Times:
    """Parsed times, and what another part of the same column must agree with."""

    values: np.ndarray  # [N] int64
    dates: bool  # the column holds dates, not numbers
    ticks: int = 1  # of `values` in a second, as many as its finest fraction needs: 1, `MICROS` or `NANOS`


def times(column: Column) -> np.ndarray:
    """Timestamps [N] int64: whole numbers as they are, ISO 8601 dates as seconds. Where any has a fraction of a second
    all are in microseconds, and where a date's fraction is finer than that, in nanoseconds.

    Raises:
      ValueError: an empty, infinite or unparsable time, or numbers and dates mixed.
    """
    return read_times(column).values


def read_times(column: Column) -> Times:
    """`times` of one part of a column that is read in parts."""
    expected = "a time (a number or an ISO 8601 date)"
    column.refuse_nested(expected)
    column.refuse_first(column.nulls, expected)
    values = column.values
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _instants(values)
    if not column.is_text:
        return _clock(column, values.to_numpy(), expected)
    numbers = pd.to_numeric(values, errors="coerce")
    numeric = numbers.notna().to_numpy()
    if numeric.all():
        return _clock(column, _exactly(column, numbers.to_numpy()), expected)
    if numeric.any() and numeric[0]:
        column.refuse_first(~numeric, "a number, as in the first row")
    dates = pd.to_datetime(values.where(~numeric), format="ISO8601", errors="coerce", utc=True)
    wrong = dates.isna().to_numpy()
    column.refuse_first(wrong, expected if wrong[0] else "an ISO 8601 date, as in the first row")
    return _instants(dates)


def labels(column: Column) -> np.ndarray:
    """Labels [N] int8.

    Raises:
      ValueError: a value other than 0, 1, false and true.
    """
    column.refuse_nested("a label, 0 or 1")
    values = column.values
    if column.is_text:
        text = values.astype(str).str.lower().replace({"true": "1", "false": "0"})
        values = pd.to_numeric(text, errors="coerce")
    values = values.astype(float).to_numpy(float, na_value=np.nan)
    column.refuse_first(~np.isin(values, (0.0, 1.0)), "a label, 0 or 1")
    return values.astype(np.int8)


def numbers(column: Column, expected: str = "a number") -> np.ndarray:
    """Finite numbers [N] float64.

    Raises:
      ValueError: any other value.
    """
    column.refuse_nested(expected)
    values = pd.to_numeric(column.values, errors="coerce").to_numpy(float, na_value=np.nan)
    column.refuse_first(~np.isfinite(values), expected)
    return values


def line_of(path: str, row: int, separator: str) -> int:
    """1-based line where a data row (0-based) of a CSV file with a header ends; blank lines hold no row."""
    limit = csv.field_size_limit(2**31 - 1)  # a cell may be longer than the 131,072 characters that csv allows at first
    try:
        with _opener(path)(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            seen = -2  # the header is row -1
            for fields in reader:
                seen += len(fields) > 1 or bool("".join(fields).strip())
                if seen == row:
                    break
            return reader.line_num
    finally:
        csv.field_size_limit(limit)


def refuse_zero_bytes(path: str) -> None:
    """Raises ValueError if a file of text holds a zero byte, at which the parser would end a field without a word."""
    lines = 1
    with _opener(path)(path, "rb") as file:
        while chunk := file.read(2**20):
            if (at := chunk.find(b"\0")) >= 0:
                line = lines + chunk.count(b"\n", 0, at)
                raise ValueError(f"{path}, line {line}: expected text, got a zero byte")
            lines += chunk.count(b"\n")


def refuse_other_encodings(path: str) -> None:
    """Raises ValueError if a file of text is not UTF-8, with the line of the first byte that is not."""
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    with _opener(path)(path, "rb") as file:
        while True:
            chunk = file.read(2**20)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:  # `object` begins with what the chunk before left open: no line's end
                line = lines + error.object.count(b"\n", 0, error.start)
                raise ValueError(
                    f"{path}, line {line}: expected UTF-8, got the byte 0x{error.object[error.start]:02x}; "
                    "convert the file"
                ) from error
            if not chunk:
                return
            lines += chunk.count(b"\n")


def _opener(path: str) -> Callable[..., Any]:
    return gzip.open if path.lower().endswith(".gz") else open


def _whole(column: Column, values: np.ndarray, expected: str) -> np.ndarray:
    if np.issubdtype(values.dtype, np.floating):
        column.refuse_first(~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < _EXACT)), expected)
    elif not np.issubdtype(values.dtype, np.integer):
        column.refuse(0, expected)
    elif values.dtype == np.uint64:
        column.refuse_first(values > np.iinfo(np.int64).max, "a whole number below 2^63")
    return values.astype(np.int64)


def _clock(column: Column, values: np.ndarray, expected: str) -> Times:
    if np.issubdtype(values.dtype, np.integer):
        return Times(_whole(column, values, expected), dates=False)
    values = values.astype(float)
    column.refuse_first(~np.isfinite(values), expected)
    if (values == np.floor(values)).all() and (np.abs(values) < 2**63).all():
        return Times(values.astype(np.int64), dates=False)
    column.refuse_first(np.abs(values) >= 2**63 / MICROS, _FITTING)
    return Times(np.round(values * MICROS).astype(np.int64), dates=False, ticks=MICROS)


def _exactly(column: Column, numbers: np.ndarray) -> np.ndarray:
    """The numbers [N] of a column of text: one "5.0" makes floats of all, which must not merge times of 19 digits."""
    size = np.abs(numbers)
    if np.issubdtype(numbers.dtype, np.integer) or not (size < 2**63).all() or (size < _EXACT).all():
        return numbers
    exact = [Decimal(str(value).strip()) for value in column.values]
    if any(number != number.to_integral_value() for number in exact):  # so all are to be microseconds
        column.refuse_first(size >= 2**63 / MICROS, _FITTING)
    return np.array([int(number) for number in exact], np.int64)


def _instants(values: pd.Series) -> Times:
    moments = values.dt.tz_convert(None) if values.dt.tz is not None else values  # to UTC
    if moments.dtype == "datetime64[ns]":
        nanos = moments.astype(np.int64).to_numpy()
        if (nanos % (NANOS // MICROS)).any():
            return Times(nanos, dates=True, ticks=NANOS)
    micros = moments.astype("datetime64[us]").astype(np.int64).to_numpy()
    if (micros % MICROS == 0).all():
        return Times(micros // MICROS, dates=True)
    return Times(micros, dates=True, ticks=MICROS)


def _is_null(value: object) -> bool:
    empty = isinstance(value, str) and not value
    return value is None or empty or value is pd.NA or (isinstance(value, float) and np.isnan(value))

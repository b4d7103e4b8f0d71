"""CSV and Parquet files as columns that know their file, name and lines."""

import difflib
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dccl_tf.data.columns import Column, line_of, refuse_other_encodings, refuse_zero_bytes

CSV_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


class TableFile:
    """The wanted columns of one CSV(.gz), TSV(.gz) or Parquet file, or of a folder of Parquet files."""

    def __init__(self, path: str | Path, wanted: Sequence[str]) -> None:
        """Args:
        path: the file; a CSV file has a header and is UTF-8.
        wanted: names of columns.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: another kind of file, an empty or damaged one, or one without a wanted column.
        """
        self.path = str(path)
        self.separator = CSV_SEPARATORS.get(kind_of(path))
        wanted = list(dict.fromkeys(wanted))
        self.frame = self._csv(wanted) if self.separator else self._parquet(wanted)
        if not len(self.frame):
            raise ValueError(f"{path}: expected at least one row, got none")

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, name: str) -> Column:
        return Column(self.frame[name], self.path, name, self.place)

    def place(self, row: int) -> str:
        """Where a 0-based row stands, for people: CSV lines count from 1, the header included."""
        return f"line {line_of(self.path, row, self.separator)}" if self.separator else f"row {row + 1}"

    def _csv(self, wanted: list[str]) -> pd.DataFrame:
        options = {"sep": self.separator, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        try:
            header = pd.read_csv(self.path, header=None, nrows=1, **options).iloc[0].tolist()
            require_columns(self.path, wanted, header, self.separator)
            frame = pd.read_csv(self.path, **options)
            refuse_zero_bytes(self.path)
        except pd.errors.EmptyDataError as error:
            raise ValueError(f"{self.path}: expected a header and rows, got an empty file") from error
        except pd.errors.ParserError as error:
            raise ValueError(f"{self.path}: {' '.join(str(error).split())}") from error
        except UnicodeDecodeError as error:
            refuse_other_encodings(self.path)  # names the line
            raise ValueError(f"{self.path}: expected UTF-8, got {error}; convert the file") from error
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{self.path}: cannot be read ({error})") from error
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes a field that the header lacks for an index
            raise ValueError(
                f"{self.path}, line {line_of(self.path, 0, self.separator)}: expected {len(header)} fields as "
                "in the header, got more"
            )
        return frame[wanted]

    def _parquet(self, wanted: list[str]) -> pd.DataFrame:
        import pyarrow as pa
        from pyarrow import dataset

        try:
            rows = dataset.dataset(self.path, format="parquet")
            require_columns(self.path, wanted, rows.schema.names)
            table = rows.to_table(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path}: expected a Parquet file, got {' '.join(str(error).split())}") from error
        for place, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):  # what pandas writes for a categorical column
                table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
            elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):  # older programs' text
                try:
                    table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
                except pa.ArrowInvalid as error:
                    raise ValueError(
                        f"{self.path}, column {field.name!r}: expected text or numbers, got bytes that are not UTF-8"
                    ) from error
        return table.to_pandas()


def kind_of(path: str | Path) -> str:
    """What a file is by its name: ".parquet", a folder too, or a suffix that `CSV_SEPARATORS` knows.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another kind of file.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if Path(path).is_dir() or kind == ".pq":
        return ".parquet"
    if kind != ".parquet" and kind not in CSV_SEPARATORS:
        raise ValueError(f"{path}: expected .csv, .csv.gz, .tsv, .tsv.gz or .parquet, got {kind or 'no suffix'}")
    return kind


class MissingColumnError(ValueError):
    """A table has no such `column`."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


def require_columns(path: str, wanted: Sequence[str], present: Sequence[str], separator: str | None = None) -> None:
    """Raises ValueError unless each wanted column is present once, `MissingColumnError` if one is not there; a CSV file
    has a separator."""
    present = list(present)
    for name in wanted:
        if present.count(name) == 1:
            continue
        if name in present:
            raise ValueError(
                f"{path}: expected one column {name!r}, got {present.count(name)} of that name; rename one"
            )
        near = difflib.get_close_matches(name.lower(), [column.lower() for column in present], n=1, cutoff=0.5)
        guess = next((f"; did you mean {one!r}?" for one in present if near and one.lower() == near[0]), "")
        if len(present) == 1 and separator and (other := re.search("[,;|\t]", present[0])):
            guess = f"; fields are expected to be separated by {separator!r}, not by {other[0]!r}"
        got = ", ".join(present) or "none"
        raise MissingColumnError(f"{path}: expected a column {name!r}, got {got}{guess}", name)


def as_text(value: object) -> str:
    """One value of a column as a category's or profile value's name; '' for none."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()

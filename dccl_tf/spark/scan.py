"""First step: a log in CSV or Parquet files as checked columns, whatever its size.

Each task checks its part with the functions of `dccl_tf.data.columns`. User and item stay what the log calls them;
times become whole numbers, ratings become labels, and `file` and `place` say where a row stood, so that ties in time
keep the order of the log.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dccl_tf.data import columns as parse
from dccl_tf.data.columns import Column
from dccl_tf.data.table_files import CSV_SEPARATORS, kind_of, require_columns
from dccl_tf.data.tables import TableColumns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCANNED = "timestamp long, dates boolean, ticks long, label byte, file int, place long"


def read_table(spark: "SparkSession", path: str | Path, columns: TableColumns) -> "DataFrame":
    """The wanted columns of a file or of a folder of files, as `user`, `item`, `timestamp` and `feedback`, with `path`,
    `block` (where its part of a file begins) and `row` (its place in the file, of Parquet alone).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another kind of file, or one without a wanted column.
    """
    from pyspark.sql import functions as F

    kind = kind_of(path)
    if kind in CSV_SEPARATORS:
        # Columns are not pruned: a line with too many fields must be seen. Quotes are doubled within quotes.
        frame = spark.read.csv(
            str(path), sep=CSV_SEPARATORS[kind], header=True, mode="FAILFAST", escape='"', enforceSchema=False
        )
        frame = frame.toDF(*(name.removeprefix("\ufeff") for name in frame.columns))
    else:
        frame = spark.read.parquet(str(path))
    wanted = columns.of_interactions()
    require_columns(str(path), wanted, frame.columns, CSV_SEPARATORS.get(kind))
    feedback = F.col(f"`{columns.feedback}`") if columns.feedback else F.lit(None).cast("byte")
    return frame.select(
        F.col(f"`{columns.user}`").alias("user"),
        F.col(f"`{columns.item}`").alias("item"),
        F.col(f"`{columns.timestamp}`").alias("timestamp"),
        feedback.alias("feedback"),
        F.col("_metadata.file_path").alias("path"),
        F.col("_metadata.file_block_start").alias("block"),
        (F.lit(None).cast("long") if kind in CSV_SEPARATORS else F.col("_metadata.row_index")).alias("row"),
    )


def scan(frame: "DataFrame", columns: TableColumns) -> "DataFrame":
    """Checks every row of what `read_table` gave.

    Returns:
      user and item as they were, and `SCANNED`: times of one part of a column have so many `ticks` a second; label is
      null where the log has none; `place` orders the rows of a `file`.
    """
    from pyspark.sql.types import StructType

    files = {path: number for number, path in enumerate(sorted(map(_path, frame.inputFiles())))}
    schema = StructType([*frame.schema.fields[:2], *StructType.fromDDL(SCANNED).fields])

    def check(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return checked(batches, columns, files)

    return frame.mapInArrow(check, schema)


def checked(
    batches: Iterable[pa.RecordBatch], columns: TableColumns, files: dict[str, int]
) -> Iterator[pa.RecordBatch]:
    """`scan` of the rows of one task, in the order of their files."""
    seen: dict[tuple[str, int], int] = {}  # rows of each block of a file so far
    sound: set[str] = set()  # files that are UTF-8 and hold the replacement character themselves
    for batch in batches:
        if not len(batch):
            continue
        paths, blocks = batch["path"].dictionary_encode().indices.to_numpy(), batch["block"].to_numpy()
        edges = np.flatnonzero((np.diff(paths) != 0) | (np.diff(blocks) != 0)) + 1
        for begin, end in pairwise([0, *edges.tolist(), len(batch)]):
            path, block = batch["path"][begin].as_py(), int(blocks[begin])
            before = seen.get((path, block), 0)
            seen[path, block] = before + end - begin
            part = batch.slice(begin, end - begin)
            if _path(path) not in sound and _replaced(part):
                parse.refuse_other_encodings(_path(path))
                sound.add(_path(path))
            yield _checked(part, columns, _path(path), block, before, files[_path(path)])


def _replaced(batch: pa.RecordBatch) -> bool:
    """Whether rows of a CSV file hold U+FFFD, which Spark puts, without a word, where a byte is not UTF-8: the ids
    "\\xe8" and "\\xe9" would be one id."""
    texts = [batch[name] for name in ("user", "item", "timestamp", "feedback") if pa.types.is_string(batch[name].type)]
    of_csv = batch["row"].null_count == len(batch)
    return of_csv and any(pc.any(pc.match_substring(text, "\ufffd")).as_py() for text in texts)


def _path(url: str) -> str:
    """A file's path; Spark spells its URL in two ways."""
    return unquote(urlsplit(url).path)


def _checked(
    batch: pa.RecordBatch, columns: TableColumns, path: str, block: int, before: int, file: int
) -> pa.RecordBatch:
    """Rows of one block of one file; `before` of its rows came earlier."""

    places = block + before + np.arange(len(batch), dtype=np.int64)  # a line takes a byte at least: blocks stay apart
    if not batch["row"].null_count:
        places = batch["row"].to_numpy()

    def place(row: int) -> str:
        if not batch["row"].null_count:
            return f"row {places[row] + 1}"
        return f"row {before + row + 1}" + (f" from byte {block:,} on" if block else "")

    def column(alias: str, name: str) -> Column:
        return Column(batch[alias].to_pandas(), path, name, place)

    for alias, name in (("user", columns.user), ("item", columns.item)):
        ids = column(alias, name)
        ids.refuse_first(ids.nulls, "an id")
    times = parse.read_times(column("timestamp", columns.timestamp))
    count = len(batch)
    labels = pa.nulls(count, pa.int8())
    if columns.feedback:
        labels = pa.array(columns.labels(column("feedback", columns.feedback)), pa.int8())
    return pa.RecordBatch.from_arrays(
        [
            batch["user"],
            batch["item"],
            pa.array(times.values),
            pa.array(np.full(count, times.dates)),
            pa.array(np.full(count, times.ticks, np.int64)),
            labels,
            pa.array(np.full(count, file, np.int32)),
            pa.array(places),
        ],
        names=["user", "item", "timestamp", "dates", "ticks", "label", "file", "place"],
    )

"""A log of any size to stored sequences, in four steps with Parquet between them.

1. Every row is checked (`scan`).
2. Distinct users and items, with their counts, come to the driver, which numbers them and joins their details with the
   functions of `dccl_tf.data.tables`: some 100 bytes a user and an item. Interactions never come to the driver.
3. Filters: the k-core is found by counting again and again, the driver holds a mask.
4. Interactions are sorted by user and time, on disk where memory does not suffice, and `assemble`d to a row a user.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dccl_tf.data import columns as parse
from dccl_tf.data.columns import Column
from dccl_tf.data.filters import capped_counts, core, filtered_counts, kept_catalogue, kept_users
from dccl_tf.data.sequence_files import SUFFIX, new_folder, require_replaceable
from dccl_tf.data.tables import TableColumns, catalogue_of, distinct, users_of
from dccl_tf.spark.scan import read_table, scan
from dccl_tf.spark.sequences import assemble

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def prepare_table(
    spark: "SparkSession",
    interactions: str | Path,
    output: str | Path,
    items: str | Path | None = None,
    users: str | Path | None = None,
    columns: TableColumns | None = None,
    *,
    min_user_interactions: int = 1,
    min_item_interactions: int = 1,
    max_user_interactions: int | None = None,
) -> Path:
    """Writes the log that `load_table`, `filter_log` and `cap_histories` would make.

    Args:
      spark: a session.
      interactions: a file or a folder of files, a row for each interaction.
      output: the folder to write; ".parquet" is added where it is missing. All machines must see it.
      items: a row for each item.
      users: a row for each user.
      columns: names of the columns.
      min_user_interactions: of each user that is kept.
      min_item_interactions: of each item that is kept.
      max_user_interactions: the newest of each user that are kept; None keeps all.

    Returns:
      The folder; `dccl_tf.data.sequence_files` reads it.

    Raises:
      FileNotFoundError, ValueError: what is wrong with the data, in words for people.
    """
    columns = columns or TableColumns()
    columns.require_details(items, users)
    output = Path(output)
    output = output if output.suffix == SUFFIX else output.with_name(output.name + SUFFIX)
    require_replaceable(output)
    steps = output.with_name(f".steps-{output.name}")
    shutil.rmtree(steps, ignore_errors=True)
    try:
        scanned = _kept(scan(read_table(spark, interactions, columns), columns), steps / "scanned")
        ticks = _ticks(scanned, interactions, columns)
        people, of_user, user_table = _numbered(spark, scanned, "user", str(interactions), columns)
        things, of_item, item_table = _numbered(spark, scanned, "item", str(interactions), columns)
        total = int(of_user.sum())
        counts = {"interactions": total, "users": len(people), "items": len(things)}
        if columns.feedback:
            counts["interactions_liked"] = scanned.agg({"label": "sum"}).first()[0]
        catalogue = catalogue_of(items, columns, things, counts)
        everybody = users_of(users, columns, people, counts)
        rows = _kept(_joined(scanned, user_table, item_table, ticks), steps / "numbered")

        masks = core(
            of_user, of_item, min_user_interactions, min_item_interactions, lambda *masks: _counts(spark, rows, *masks)
        )
        if not all(mask.all() for mask in masks):
            rows = _renumbered(spark, rows, *masks)
            of_user, _ = _counts_of(rows, int(masks[0].sum()), int(masks[1].sum()))
            counts |= filtered_counts(*masks, total - int(of_user.sum()))
            everybody, catalogue = kept_users(everybody, masks[0]), kept_catalogue(catalogue, masks[1])
        if max_user_interactions is not None and of_user.max() > max_user_interactions:
            counts |= capped_counts(of_user, max_user_interactions)
        kept = int(np.minimum(of_user, max_user_interactions or of_user.max()).sum())

        labels = columns.feedback is not None
        with new_folder(
            output, everybody, catalogue, interactions=kept, labels=labels, counts=counts,
            source=f"the table {interactions}",
        ) as written:  # fmt: skip
            sequences(rows, labels, max_user_interactions).write.parquet(str(written))
    finally:
        shutil.rmtree(steps, ignore_errors=True)
    return output


def sequences(rows: "DataFrame", labels: bool, most: int | None = None) -> "DataFrame":
    """A row for each user, sorted by user within and across partitions.

    Args:
      rows: user and item (numbers), timestamp, label, file and place.
      labels: whether the log has labels.
      most: newest interactions of each user that are kept.
    """
    schema = "user long, items array<int>, timestamps array<long>" + (", labels array<byte>" if labels else "")

    def put_together(batches):  # noqa: ANN001, ANN202 (Spark reads a function's hints, and wants none or its own)
        return assemble(batches, labels, most)

    ordered = rows.repartitionByRange("user").sortWithinPartitions("user", "timestamp", "file", "place")
    return ordered.mapInArrow(put_together, schema)


def _kept(frame: "DataFrame", path: Path) -> "DataFrame":
    """The frame, written and read back: a step is computed once, and what follows can be planned by its size."""
    frame.write.parquet(str(path))
    return frame.sparkSession.read.parquet(str(path))


def _ticks(scanned: "DataFrame", file: str | Path, columns: TableColumns) -> int:
    """Ticks a second of all times: those of the part that has the finest."""
    kinds = [(row.dates, row.ticks) for row in scanned.select("dates", "ticks").distinct().collect()]
    if not kinds:
        raise ValueError(f"{file}: expected at least one row, got none")
    if len({dates for dates, _ in kinds}) > 1:
        raise ValueError(
            f"{file}, column {columns.timestamp!r}: expected numbers or ISO 8601 dates, got both in one column"
        )
    return max(ticks for _, ticks in kinds)


def _numbered(
    spark: "SparkSession", scanned: "DataFrame", name: str, file: str, columns: TableColumns
) -> tuple[np.ndarray, np.ndarray, "DataFrame"]:
    """Ids of users or items as the single-process way has them, sorted; interactions of each; and a table from what the
    log says to numbers from 0."""
    found = scanned.groupBy(name).count().toArrow()
    column = Column(found[name].to_pandas(), file, getattr(columns, name), lambda _: "all rows")
    ids, numbers = distinct(parse.ids(column, columns.id_type))
    counts = np.bincount(numbers, weights=found["count"].to_numpy(), minlength=len(ids)).astype(np.int64)
    table = pa.table({name: found[name], f"{name}_number": pa.array(numbers, pa.int64())})
    return ids, counts, spark.createDataFrame(table)


def _joined(scanned: "DataFrame", users: "DataFrame", items: "DataFrame", ticks: int) -> "DataFrame":
    """Numbers in place of ids: users from 0, items from 1; and times in one unit."""
    from pyspark.sql import functions as F

    time = F.col("timestamp")
    if ticks > 1:
        # Whole numbers by way of a float, as a column with fractions is read.
        rescaled = F.round(time.cast("double") * float(ticks)).cast("long")
        rescaled = F.when(F.col("dates"), time * (F.lit(ticks) / F.col("ticks")).cast("long")).otherwise(rescaled)
        time = F.when(F.col("ticks") == ticks, time).otherwise(rescaled)
    return (
        scanned.join(items, "item")
        .join(users, "user")
        .select(
            F.col("user_number").alias("user"),
            (F.col("item_number") + 1).cast("int").alias("item"),
            time.alias("timestamp"),
            "label",
            "file",
            "place",
        )
    )


def _counts(
    spark: "SparkSession", rows: "DataFrame", users_kept: np.ndarray, items_kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Interactions of each user and item among those that are kept."""
    users, items = (pa.table({name: pa.array(np.flatnonzero(mask) + first)})
                    for name, mask, first in (("user", users_kept, 0), ("item", items_kept, 1)))  # fmt: skip
    left = rows.join(spark.createDataFrame(users), "user", "semi").join(spark.createDataFrame(items), "item", "semi")
    return _counts_of(left, len(users_kept), len(items_kept))


def _counts_of(rows: "DataFrame", users: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Interactions of each user [U] and item [V]."""
    results = []
    for name, first, length in (("user", 0, users), ("item", 1, items)):
        found = rows.groupBy(name).count().toArrow()
        counts = np.zeros(length, np.int64)
        counts[found[name].to_numpy() - first] = found["count"].to_numpy()
        results.append(counts)
    return tuple(results)


def _renumbered(
    spark: "SparkSession", rows: "DataFrame", users_kept: np.ndarray, items_kept: np.ndarray
) -> "DataFrame":
    """The interactions of the users and items that are kept, with new numbers in the same order."""
    for name, mask, first in (("user", users_kept, 0), ("item", items_kept, 1)):
        old = np.flatnonzero(mask) + first
        kind = pa.int64() if name == "user" else pa.int32()
        table = pa.table({name: pa.array(old), "new": pa.array(np.arange(first, len(old) + first), kind)})
        rows = rows.join(spark.createDataFrame(table), name).drop(name).withColumnRenamed("new", name)
    return rows

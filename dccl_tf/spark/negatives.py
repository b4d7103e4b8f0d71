"""The items that each user's held-out one competes with, drawn where the sequences lie."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dccl_tf.data.negatives import evaluation_negatives
from dccl_tf.data.sequence_files import SequenceFolder
from dccl_tf.files import whole
from dccl_tf.spark.parts import logs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def draw_negatives(spark: "SparkSession", log: str | Path, output: str | Path, n: int = 100, seed: int = 0) -> Path:
    """Draws as `evaluation_negatives` does in one process; neither it nor this depends on who is asked together.

    Args:
      spark: a session.
      log: folder of `sequence_files`, which all machines see.
      output: folder to write: user int64 and items, a list of n int32; must not exist.
      n: items for each user.
      seed: one seed, one list.

    Raises:
      FileNotFoundError, ValueError: there is no such log, or a user has fewer than n untouched items.
    """
    opened = SequenceFolder(log)

    def draw(batches):  # noqa: ANN001, ANN202 (Spark reads a function's hints, and wants none or its own)
        for part in logs(opened, batches):
            present = np.flatnonzero(part.lengths)
            drawn = evaluation_negatives(part, present, n, seed)
            ends = pa.array(np.arange(len(drawn) + 1, dtype=np.int32) * n)
            items = pa.ListArray.from_arrays(ends, pa.array(drawn.ravel()))
            yield pa.RecordBatch.from_arrays([pa.array(part.users.numbers[present]), items], names=["user", "items"])

    frame = spark.read.parquet(str(opened.sequences))
    with whole(Path(output)) as folder:
        frame.mapInArrow(draw, "user long, items array<int>").write.parquet(str(folder))
    return Path(output)

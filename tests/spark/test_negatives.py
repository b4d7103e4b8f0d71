"""Negatives drawn on Spark are those drawn in one process."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from dccl_tf.data.negatives import evaluation_negatives
from dccl_tf.data.sequence_files import write_sequences
from dccl_tf.spark.negatives import draw_negatives
from tests.data.logs import random_log


def test_equal_negatives_of_a_thousand_users(spark, tmp_path):
    log = random_log(2, count=1000, items=200)
    folder = draw_negatives(spark, write_sequences(log, tmp_path / "log.parquet"), tmp_path / "drawn", n=20, seed=5)
    table = pq.read_table(folder).sort_by("user")
    assert table["user"].to_pylist() == list(range(1000))
    expected = evaluation_negatives(log, np.arange(1000), 20, 5)
    np.testing.assert_array_equal(np.stack(table["items"].to_numpy()), expected)


def test_a_user_who_has_touched_too_much_is_named(spark, tmp_path):
    log = random_log(2, count=10, items=21)
    with pytest.raises(Exception, match="expected at least 20 items that a user has not touched, but user"):
        draw_negatives(spark, write_sequences(log, tmp_path / "log.parquet"), tmp_path / "drawn", n=20)
    assert not list(tmp_path.glob("*drawn"))  # and no half of an answer is left

"""From sorted rows to a row a user, however the rows are cut into batches."""

import numpy as np
import pyarrow as pa
import pytest

from dccl_tf.spark.parts import slices
from dccl_tf.spark.sequences import assemble

USERS = [4, 4, 4, 7, 9, 9]
ITEMS = [1, 2, 3, 5, 8, 6]


def rows(users, items) -> pa.RecordBatch:
    columns = {
        "user": pa.array(users, pa.int64()),
        "item": pa.array(items, pa.int32()),
        "timestamp": pa.array([10 * item for item in items], pa.int64()),
        "label": pa.array([item % 2 for item in items], pa.int8()),
    }
    return pa.RecordBatch.from_pydict(columns)


def cut(size: int) -> list[pa.RecordBatch]:
    return [rows(USERS[i : i + size], ITEMS[i : i + size]) for i in range(0, len(USERS), size)]


def found(batches, labels=True, most=None):
    return pa.Table.from_batches(list(assemble(batches, labels, most))).to_pydict()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_a_row_a_user_whatever_the_batches(size):
    assert found(cut(size)) == {
        "user": [4, 7, 9],
        "items": [[1, 2, 3], [5], [8, 6]],
        "timestamps": [[10, 20, 30], [50], [80, 60]],
        "labels": [[1, 0, 1], [1], [0, 0]],
    }


@pytest.mark.parametrize("size", [1, 2, 6])
def test_the_newest_are_kept(size):
    assert found(cut(size), most=2)["items"] == [[2, 3], [5], [8, 6]]
    assert found(cut(size), most=1)["items"] == [[3], [5], [6]]


def test_a_log_without_labels_has_no_such_column():
    assert list(found(cut(6), labels=False)) == ["user", "items", "timestamps"]


def test_empty_batches_change_nothing():
    empty = rows([], [])
    assert found([empty, *cut(2), empty])["user"] == [4, 7, 9]
    assert list(assemble([empty], labels=True)) == []


def test_of_a_user_with_a_million_events_only_the_newest_are_held():  # C6
    width, held = 10_000, []

    def events():
        for first in range(0, 1_000_000, width):
            yield rows(np.zeros(width, np.int64), np.arange(first, first + width) % 1000)
            held.append(pa.total_allocated_bytes())

    before = pa.total_allocated_bytes()
    (batch,) = assemble(events(), labels=True, most=3)
    assert batch["items"][0].as_py() == [997, 998, 999]
    # A batch is 10,000 rows of 8 + 4 + 8 + 1 bytes; a few of them at a time, of a hundred.
    assert max(held) - before < 5 * width * 21


def sequences(users) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"user": pa.array(users, pa.int64())})


def test_slices_hold_consecutive_users():
    runs = [
        (numbers, [user for batch in part for user in batch["user"].to_pylist()])
        for numbers, part in slices([sequences([3, 4, 6, 7]), sequences([8, 9]), sequences([50, 51, 2])], most=4)
    ]
    assert runs == [
        (range(3, 7), [3, 4, 6]),
        (range(7, 10), [7, 8, 9]),
        (range(50, 52), [50, 51]),
        (range(2, 3), [2]),
    ]

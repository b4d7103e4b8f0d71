"""What a task checks of its rows, without Spark around it."""

import pyarrow as pa
import pytest

from dccl_tf.data.tables import TableColumns
from dccl_tf.spark.scan import checked
from dccl_tf.spark.session import one_line


def part(times, path="file:///logs/b%20c.csv", block=0, rows=None, feedback=None, user="u") -> pa.RecordBatch:
    count = len(times)
    columns = {
        "user": pa.array([user] * count),
        "item": pa.array(["i"] * count),
        "timestamp": pa.array(times),
        "feedback": pa.array(feedback or [None] * count, pa.string()),
        "path": pa.array([path] * count),
        "block": pa.array([block] * count, pa.int64()),
        "row": pa.array(rows or [None] * count, pa.int64()),
    }
    return pa.RecordBatch.from_pydict(columns)


FILES = {"/logs/a.csv": 0, "/logs/b c.csv": 1}


def found(*parts, columns=None, files=FILES):
    return pa.Table.from_batches(list(checked(parts, columns or TableColumns(), files))).to_pydict()


def test_places_go_on_from_batch_to_batch_of_a_block():
    rows = found(part(["5", "6"]), part(["7"]), part(["8"], block=900))
    assert rows["place"] == [0, 1, 2, 900]
    assert rows["file"] == [1, 1, 1, 1]


def test_one_batch_may_hold_the_ends_of_two_files():
    both = pa.Table.from_batches([part(["5"]), part(["6", "7"], path="file:/logs/a.csv")]).combine_chunks().to_batches()
    rows = found(*both)
    assert (rows["file"], rows["place"]) == ([1, 0, 0], [0, 0, 1])


def test_a_parquet_file_tells_its_rows_places():
    assert found(part([5, 6], block=4, rows=[70, 71]))["place"] == [70, 71]


def test_each_part_says_in_what_its_times_are():
    rows = found(part(["5"]), part(["5", "6.25"]), part(["1970-01-01T00:00:02Z"]))
    assert rows["timestamp"] == [5, 5_000_000, 6_250_000, 2]
    assert rows["ticks"] == [1, 10**6, 10**6, 1]
    assert rows["dates"] == [False, False, False, True]


def test_labels_and_ratings():
    assert found(part(["5", "6"], feedback=["1", "0"]), columns=TableColumns(label="x"))["label"] == [1, 0]
    assert found(part(["5", "6"], feedback=["3.5", "4"]), columns=TableColumns(rating="x"))["label"] == [0, 1]
    assert found(part(["5"]))["label"] == [None]


def test_a_bad_value_is_named_with_file_row_and_column():
    with pytest.raises(
        ValueError, match=r"^/logs/b c.csv, row 4, column 'timestamp': expected a number, .* got 'soon'$"
    ):
        found(part(["5", "6"]), part(["7", "soon"]))
    with pytest.raises(ValueError, match="row 2 from byte 900 on, column 'timestamp'"):
        found(part(["5", "x"], block=900))


def test_a_file_that_is_not_utf_8_is_named_before_spark_s_stand_in_merges_its_ids(tmp_path):
    log = tmp_path / "log.csv"
    log.write_bytes(b"user_id,item_id,timestamp\n1,i,5\n\xe9,i,6\n")
    with pytest.raises(ValueError, match=r"log\.csv, line 3: expected UTF-8, got the byte 0xe9; convert the file"):
        found(part(["6"], path=log.as_uri(), user="\ufffd"), files={str(log): 0})


def test_a_file_may_hold_the_character_that_spark_puts_for_a_bad_byte(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\n\ufffd,i,6\n", encoding="utf-8")
    assert found(part(["6"], path=log.as_uri(), user="\ufffd"), files={str(log): 0})["user"] == ["\ufffd"]


def test_one_line_of_a_task_s_exception():
    text = (
        'An exception was thrown from the Python worker:\nTraceback (most recent call last):\n  File "x.py", line 3\n'
    )
    assert one_line(RuntimeError(text + "ValueError: a.csv: expected this, got that\n\n\tat org.apache")) == (
        "a.csv: expected this, got that"
    )
    assert one_line(RuntimeError(text + "KeyError: 'x'\n")) == "KeyError: 'x'"
    assert one_line(RuntimeError("Job\naborted\n\tat org.apache.spark")) == "Job aborted"

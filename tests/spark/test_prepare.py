"""A table prepared on Spark is the table prepared in one process."""

import numpy as np
import pandas as pd
import pytest

from dccl_tf.data.filters import cap_histories, filter_log
from dccl_tf.data.sequence_files import SequenceFolder, read_sequences
from dccl_tf.data.storage import log_identity
from dccl_tf.data.tables import TableColumns, load_table
from dccl_tf.spark.prepare import prepare_table
from tests.data.test_storage import equal

USERS = 1000


def interactions(random: np.random.Generator, count: int) -> pd.DataFrame:
    """Items with a long tail, many ties in time, and one user with every tenth interaction."""
    users = random.integers(0, USERS, count) * 7
    users[::10] = 77
    items = [f"i{number:04d}" for number in np.minimum(random.zipf(1.3, count), 2000)]
    return pd.DataFrame({"uid": users, "sku": items, "at": random.integers(0, 200, count)})


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_thousand_users_with_all_that_a_table_can_have(spark, tmp_path, random):
    log, items, users = (tmp_path / name for name in ("log.csv", "items.csv", "users.csv"))
    frame = interactions(random, 20_000).assign(stars=random.integers(1, 6, 20_000))
    frame.to_csv(log, index=False)
    known = frame["sku"].drop_duplicates().iloc[::2]
    pd.DataFrame({"sku": known, "kind": [f"k{n % 5}|k{n % 3}" for n in range(len(known))]}).to_csv(items, index=False)
    pd.DataFrame({"uid": np.arange(USERS) * 7, "age": np.arange(USERS) % 60}).to_csv(users, index=False)
    columns = TableColumns("uid", "sku", "at", rating="stars", categories=("kind",), profile=("age",))
    expected = cap_histories(filter_log(load_table(log, items, users, columns), 8, 6), 50)
    assert expected.lengths.max() == 50
    assert expected.counts["items_filtered"] > 100

    folder = prepare_table(
        spark, log, tmp_path / "out", items, users, columns,
        min_user_interactions=8, min_item_interactions=6, max_user_interactions=50,
    )  # fmt: skip
    equal(read_sequences(folder), expected)
    assert log_identity(read_sequences(folder)) == log_identity(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv", "log.csv", "out.parquet", "users.csv"]


def test_a_folder_of_parquet_files_of_which_one_has_parts_of_seconds(spark, tmp_path, random):
    folder = tmp_path / "two logs"
    folder.mkdir()
    whole, parts = interactions(random, 900), interactions(random, 600)
    whole["at"] = whole["at"].astype(float)
    parts["at"] += 0.5
    whole["liked"], parts["liked"] = whole.index % 3 == 0, parts.index % 2 == 0
    whole.to_parquet(folder / "b.parquet", row_group_size=100)
    parts.to_parquet(folder / "a.parquet", row_group_size=100)
    columns = TableColumns("uid", "sku", "at", label="liked")
    equal(
        read_sequences(prepare_table(spark, folder, tmp_path / "out", columns=columns)),
        load_table(folder, columns=columns),
    )


def test_parts_with_seconds_microseconds_and_nanoseconds_have_one_clock(spark, tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    for part, fraction in (("a", ".000000002"), ("b", ""), ("c", ".000001")):
        times = [f"1970-01-01T00:00:0{second}{fraction}" for second in (2, 1)]
        frame = pd.DataFrame({"user_id": 1, "item_id": [f"{part}2", f"{part}1"], "timestamp": times})
        frame.to_parquet(folder / f"{part}.parquet")
    log = load_table(folder)
    assert log.timestamps.tolist() == [second * 10**9 + nanos for second in (1, 2) for nanos in (0, 2, 1000)]
    assert log_identity(read_sequences(prepare_table(spark, folder, tmp_path / "out"))) == log_identity(log)


def test_what_is_wrong_is_said_and_leaves_nothing(spark, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\n1,2,3\n1,2,soon\n")
    with pytest.raises(Exception, match=r"log.csv, row 2, column 'timestamp': expected a number, .* got 'soon'"):
        prepare_table(spark, log, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_file_that_is_not_utf_8_is_refused_in_the_words_of_one_process(spark, tmp_path):
    log = tmp_path / "log.csv"
    log.write_bytes(b"user_id,item_id,timestamp\n\xe9a,2,3\n\xe8a,2,4\n")
    message = r"log\.csv, line 2: expected UTF-8, got the byte 0xe9"
    for load in (load_table, lambda path: prepare_table(spark, path, tmp_path / "out")):
        with pytest.raises(Exception, match=message):
            load(log)


def test_what_may_not_be_replaced_is_told_before_anything_runs(tmp_path):
    (tmp_path / "out.parquet").mkdir()
    (tmp_path / "out.parquet" / "precious").touch()
    with pytest.raises(
        ValueError, match=r"output: expected a new folder or one with a prepared log, got .*out.parquet"
    ):
        prepare_table(None, tmp_path / "none.csv", tmp_path / "out")


def test_a_missing_column_is_named_before_anything_runs(spark, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item,timestamp\n1,2,3\n")
    with pytest.raises(
        ValueError, match="expected a column 'item_id', got user_id, item, timestamp; did you mean 'item'"
    ):
        prepare_table(spark, log, tmp_path / "out")


def test_sequences_lie_in_the_order_of_users(spark, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\n" + "".join(f"{9 - n},{n},{n}\n" for n in range(9)))
    folder = SequenceFolder(prepare_table(spark, log, tmp_path / "out"))
    assert folder.words["interactions"] == 9
    for batch in folder.batches():
        assert (np.diff(batch["user"].to_numpy()) > 0).all()

"""A prepared log as a folder of Parquet files: whole and in parts."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from dccl_tf.data.negatives import NegativeSampler, evaluation_negatives
from dccl_tf.data.sequence_files import SequenceFolder, read_sequences, write_sequences
from dccl_tf.data.storage import log_identity, read_log
from dccl_tf.data.synthetic import synthetic_log
from tests.data.logs import log_of, random_log
from tests.data.test_storage import equal


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log.parquet"


def test_everything_comes_back(folder):
    log, _ = synthetic_log(1, users=20, items=40, mean_length=10)
    equal(read_sequences(write_sequences(log, folder)), log)


def test_a_log_without_a_shared_clock_stays_one(folder):
    assert not read_sequences(write_sequences(replace(random_log(1), shared_clock=False), folder)).shared_clock


def test_read_log_takes_a_folder_too(folder):
    log = random_log(1)
    assert log_identity(read_log(write_sequences(log, folder))) == log_identity(log)


def test_text_ids_users_without_interactions_and_several_categories(folder):
    log = log_of([1, 2], [], [2, 2, 1], items=2)
    wide = np.array([[0, 0], [1, 2], [2, 0], [0, 0]], np.int32)
    catalogue = replace(log.catalogue, ids=np.array(["ä", "b"]), categories=wide, titles=("A", ""))
    log = replace(log, catalogue=catalogue)
    back = read_sequences(write_sequences(log, folder))
    assert back.offsets.tolist() == [0, 2, 2, 5]
    assert back.catalogue.ids.tolist() == ["ä", "b"]
    assert back.catalogue.categories.tolist() == wide.tolist()
    assert (back.catalogue.titles, back.labels) == (("A", ""), None)


def part_of(folder, numbers):
    opened = SequenceFolder(folder)
    rows = [batch.filter(_within(batch, numbers)) for batch in opened.batches()]
    return opened.log_of(rows, numbers)


def _within(batch, numbers):
    import pyarrow as pa

    users = batch["user"].to_numpy()
    return pa.array((users >= numbers.start) & (users < numbers.stop))


def test_a_part_knows_its_users_and_their_numbers(folder):
    log = random_log(3, count=9, labels=True)
    part = part_of(write_sequences(log, folder), range(4, 7))
    assert part.users.ids.tolist() == log.users.ids[4:7].tolist()
    assert part.users.profile.tolist() == log.users.profile[4:7].tolist()
    assert part.users.numbers.tolist() == [4, 5, 6]
    assert part.items.tolist() == log.items[log.offsets[4] : log.offsets[7]].tolist()
    assert len(part.catalogue) == len(log.catalogue)


def test_a_part_draws_the_negatives_of_the_whole(folder):
    log = random_log(3, count=9)
    part = part_of(write_sequences(log, folder), range(4, 7))
    whole = evaluation_negatives(log, np.arange(9), 10, seed=2)
    np.testing.assert_array_equal(evaluation_negatives(part, np.arange(3), 10, seed=2), whole[4:7])
    places = {"positions": np.zeros(3, np.int64), "n": 5, "seed": 1, "epoch": 2}
    np.testing.assert_array_equal(
        NegativeSampler(part).draw_for(np.arange(3), **places), NegativeSampler(log).draw_for(np.arange(4, 7), **places)
    )


def test_a_prepared_log_is_replaced_and_nothing_else(folder, tmp_path):
    write_sequences(random_log(1, count=40), folder)
    assert len(read_sequences(write_sequences(random_log(1, count=3), folder)).users) == 3
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="output: expected a new folder or one with a prepared log"):
        write_sequences(random_log(1), tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_the_old_log_stays_until_the_new_one_is_whole(folder, monkeypatch):
    write_sequences(random_log(1, count=9), folder)

    def full(table, where, **_):
        raise OSError(f"{where}: no space left on device")

    monkeypatch.setattr("dccl_tf.data.sequence_files.pq.write_table", full)
    with pytest.raises(OSError, match="no space left"):
        write_sequences(random_log(2, count=5), folder)
    assert log_identity(read_sequences(folder)) == log_identity(random_log(1, count=9))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_old_log_comes_back_where_the_new_one_cannot_take_its_place(folder, monkeypatch):
    write_sequences(random_log(1, count=9), folder)
    replace_file = os.replace

    def refused(source, target):
        if source.name.startswith(".unfinished"):
            raise OSError("not permitted")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="not permitted"):
        write_sequences(random_log(2, count=5), folder)
    assert len(read_sequences(folder).users) == 9
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_nothing_of_the_old_log_stays_beside_the_new_one(folder):
    for count in (9, 5):
        write_sequences(random_log(1, count=count), folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("words", ["{}", '{"format": 1}', "[1]", "not JSON"])
def test_a_folder_with_another_program_s_log_json_is_left_alone(folder, words):
    folder.mkdir()
    (folder / "log.json").write_text(words)
    (folder / "part-0.parquet").write_text("years of work")
    with pytest.raises(ValueError, match="output: expected a new folder or one with a prepared log"):
        write_sequences(random_log(1), folder)
    assert (folder / "part-0.parquet").read_text() == "years of work"


def test_an_unfinished_folder_and_another_format_are_refused(folder):
    write_sequences(random_log(1), folder)
    words = json.loads((folder / "log.json").read_text())
    (folder / "log.json").write_text(json.dumps(words | {"format": 99}))
    with pytest.raises(ValueError, match="expected format 1, got 99; prepare the data again"):
        read_sequences(folder)
    (folder / "log.json").rename(folder / "unfinished.json")
    with pytest.raises(ValueError, match="got one that it did not finish; prepare the data again"):
        read_sequences(folder)


def test_a_folder_that_lacks_a_file_is_refused(folder, monkeypatch):
    monkeypatch.setattr("dccl_tf.data.sequence_files._USERS_A_FILE", 10)
    log, _ = synthetic_log(1, users=20, items=40, mean_length=10)
    write_sequences(log, folder)
    (folder / "sequences" / "part-00001.parquet").unlink()
    left = log.offsets[10]
    with pytest.raises(ValueError, match=f"expected {len(log.items)} interactions as log.json says, got {left}: files"):
        read_sequences(folder)


def test_a_missing_folder_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"log\.parquet: there is no such folder"):
        read_sequences(folder)

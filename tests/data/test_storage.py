"""A prepared log, written and read back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dccl_tf.data.amazon import SOURCE
from dccl_tf.data.storage import FORMAT, log_identity, read_log, save_log
from dccl_tf.data.synthetic import synthetic_log
from tests.data.logs import log_of


def with_item_ids(log, ids):
    return replace(log, catalogue=replace(log.catalogue, ids=np.array(ids)))


def equal(one, other):
    for name in ("items", "timestamps", "labels", "offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for mine, theirs in ((one.users, other.users), (one.catalogue, other.catalogue)):
        np.testing.assert_array_equal(mine.ids, theirs.ids)
    np.testing.assert_array_equal(one.users.profile, other.users.profile)
    np.testing.assert_array_equal(one.catalogue.categories, other.catalogue.categories)
    assert one.users.fields == other.users.fields
    assert one.catalogue.category_names == other.catalogue.category_names
    assert one.catalogue.titles == other.catalogue.titles
    assert (one.counts, one.source, one.shared_clock) == (other.counts, other.source, other.shared_clock)


def test_everything_comes_back(tmp_path):
    log, _ = synthetic_log(1, users=20, items=40, mean_length=10)
    equal(read_log(save_log(log, tmp_path / "new" / "log.npz")), log)


def test_ids_of_text_and_a_log_without_labels(tmp_path):
    log = with_item_ids(log_of([1, 2]), ["ä", "b"])
    back = read_log(save_log(log, tmp_path / "log"))
    assert back.catalogue.ids.tolist() == ["ä", "b"]
    assert back.labels is None


def test_a_log_without_a_shared_clock_stays_one(tmp_path):
    log = replace(log_of([1, 2]), shared_clock=False)
    assert not read_log(save_log(log, tmp_path / "log.npz")).shared_clock


@pytest.mark.parametrize(("source", "shared"), [(SOURCE, False), ("MovieLens", True)])
def test_a_file_that_does_not_tell_its_clock_has_that_of_its_source(tmp_path, source, shared):
    path = save_log(replace(log_of([1, 2]), source=source), tmp_path / "log.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    words = json.loads(arrays["words"].tobytes())
    del words["shared_clock"]
    np.savez(path, **(arrays | {"words": np.frombuffer(json.dumps(words).encode(), np.uint8)}))
    assert read_log(path).shared_clock == shared


def test_no_other_file_is_left_behind(tmp_path):
    save_log(log_of([1, 2]), tmp_path / "log.npz")
    save_log(log_of([1, 2, 3]), tmp_path / "log.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["log.npz"]
    assert len(read_log(tmp_path / "log.npz").items) == 3


def test_ids_that_only_a_pickle_could_hold_are_refused(tmp_path):
    log = with_item_ids(log_of([1, 2]), np.array(["a", 1], object))
    with pytest.raises(ValueError, match=r"catalogue.ids: expected .* got Python objects"):
        save_log(log, tmp_path / "log.npz")
    assert not list(tmp_path.iterdir())


def test_a_flipped_byte_is_found_or_changes_nothing_that_is_read(tmp_path):
    log, _ = synthetic_log(1, users=20, items=40, mean_length=10)
    whole = save_log(log, tmp_path / "log.npz").read_bytes()
    refused = []
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            equal(read_log(tmp_path / "damaged.npz"), log)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert all("expected" in words for words in refused)


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "other", "pickle", "list", "column lost"])
def test_a_damaged_or_foreign_file_is_refused(tmp_path, kind):
    path = save_log(log_of([1, 2]), tmp_path / "log.npz")
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("user,item")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "other":
        np.savez(path, a=np.arange(3))
    elif kind == "pickle":
        np.savez(path, words=np.array([{"a": 1}], object))
    elif kind == "list":
        np.savez(path, words=np.frombuffer(b"[1]", np.uint8))
    else:
        with np.load(path) as archive:
            np.savez(path, **{name: archive[name] for name in archive if name != "offsets"})
    with pytest.raises(ValueError, match="expected a log that prepare_data wrote"):
        read_log(path)


def test_a_file_of_a_later_format_is_named(tmp_path):
    np.savez(tmp_path / "log.npz", words=np.frombuffer(b'{"format": 99}', np.uint8))
    with pytest.raises(ValueError, match=rf"expected format {FORMAT}, got 99; prepare the data again"):
        read_log(tmp_path / "log.npz")


def test_a_log_read_back_is_the_same_log(tmp_path):
    log = with_item_ids(log_of([1, 2], [2], labels=True), ["ä", "b"])
    assert log_identity(read_log(save_log(log, tmp_path / "log.npz"))) == log_identity(log)


@pytest.mark.parametrize(
    "change",
    [
        lambda log: with_item_ids(log, [500, 502]),
        lambda log: replace(log, labels=None),
        lambda log: replace(log, labels=1 - log.labels),
        lambda log: replace(log, items=log.items[::-1]),
        lambda log: replace(log, timestamps=log.timestamps + 1),
        lambda log: replace(log, offsets=np.array([0, 1, 3])),
        lambda log: replace(log, users=replace(log.users, profile=log.users.profile + 1)),
        lambda log: replace(log, catalogue=replace(log.catalogue, category_names=("odd", "even"))),
    ],
)
def test_another_log_has_another_identity(change):
    log = log_of([1, 2], [2], labels=True)
    assert log_identity(change(log)) != log_identity(log)


def test_what_only_people_read_does_not_change_the_identity():
    log = log_of([1, 2], [2])
    other = replace(log, source="elsewhere", counts={"a": 1}, catalogue=replace(log.catalogue, titles=("A", "B")))
    assert log_identity(other) == log_identity(log)


def test_the_identity_of_a_log_is_that_of_the_versions_before():
    """Stored studies are found again by it. Worked out once, by the version that first wrote them."""
    identity = log_identity(log_of([1, 2], [2], labels=True))
    assert identity == "2773bd12648f88404cb4ecea7f3680bf5c40739720097c4d0e15f18a03816f0e"


def test_the_kind_of_clock_does_not_change_the_identity():
    log = log_of([1, 2], [2])
    assert log_identity(replace(log, shared_clock=False)) == log_identity(log)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_log(tmp_path / "none.npz")

"""A prepared log, written and read back."""

from dataclasses import replace

import numpy as np
import pytest

from dccl_tf.data.schema import Catalogue
from dccl_tf.data.storage import read_log, save_log
from dccl_tf.data.synthetic import synthetic_log
from tests.data.logs import log_of


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
    assert (one.counts, one.source) == (other.counts, other.source)


def test_everything_comes_back(tmp_path):
    log, _ = synthetic_log(1, users=20, items=40, mean_length=10)
    equal(read_log(save_log(log, tmp_path / "new" / "log.npz")), log)


def test_ids_of_text_and_a_log_without_labels(tmp_path):
    log = log_of([1, 2])
    log = replace(log, catalogue=Catalogue(np.array(["ä", "b"]), log.catalogue.categories, ("even", "odd")))
    back = read_log(save_log(log, tmp_path / "log"))
    assert back.catalogue.ids.tolist() == ["ä", "b"]
    assert back.labels is None


def test_no_other_file_is_left_behind(tmp_path):
    save_log(log_of([1, 2]), tmp_path / "log.npz")
    save_log(log_of([1, 2, 3]), tmp_path / "log.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["log.npz"]
    assert len(read_log(tmp_path / "log.npz").items) == 3


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "other", "pickle"])
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
    else:
        np.savez(path, words=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="expected a log that prepare_data wrote"):
        read_log(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_log(tmp_path / "none.npz")

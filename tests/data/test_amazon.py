"""Amazon from small files made here, and, where they lie beside the checkout, from the real ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from absl import flags
from absl.testing import flagsaver

from dccl_tf.data.amazon import load_amazon
from dccl_tf.data.filters import cap_histories
from dccl_tf.data.sequences import split_by_time
from scripts.flags_data import load_log

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch):
    monkeypatch.delenv("DCCL_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    """Users 7 and 9 met items 30, 40 and 50; user 8 met 60, which nobody else did. Toys is divided, Games is not."""
    rows = [(9, 40, 1), (9, 30, 0), (7, 50, 0), (7, 30, 1), (7, 40, 2), (9, 50, 2), (8, 60, 0)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_parquet(tmp_path / "interactions.parquet")
    items = {30: (1, "Games"), 40: (2, "Toys"), 50: (3, "Toys"), 60: (2, "Toys")}
    rows = [(item, *kind) for item, kind in items.items()]
    pd.DataFrame(rows, columns=["item_id", "category", "domain"]).to_parquet(tmp_path / "items.parquet")
    return tmp_path


def test_by_hand(folder):
    log = load_amazon(folder, 1, 1)
    assert log.users.ids.tolist() == [7, 8, 9]
    assert log.catalogue.ids[log.items - 1].tolist() == [50, 30, 40, 60, 30, 40, 50]  # by user, then by place
    assert log.labels is None
    assert (log.users.profile == 0).all()


def test_a_domain_that_is_divided_gives_its_items_a_second_category(folder):
    catalogue = load_amazon(folder, 1, 1).catalogue
    assert catalogue.category_names == ("Games", "Toys", "Toys 2", "Toys 3")
    # padding; 30: Games; 40: Toys, Toys 2; 50: Toys, Toys 3; 60: Toys, Toys 2; out of vocabulary
    assert catalogue.categories.tolist() == [[0, 0], [1, 0], [2, 3], [2, 4], [2, 3], [0, 0]]


def test_filters_leave_out_the_user_and_the_item_that_met_each_other_alone(folder):
    log = load_amazon(folder, 1, 2)
    assert log.users.ids.tolist() == [7, 9]
    assert log.catalogue.ids.tolist() == [30, 40, 50]


def test_the_paper_s_filters_are_the_default(folder):
    with pytest.raises(ValueError, match="8 and 8 leave nothing of 7 interactions"):
        load_amazon(folder)


def test_a_sample_keeps_whole_users_and_what_they_met(folder):
    whole = load_amazon(folder, 1, 1)
    log = load_amazon(folder, 1, 1, max_users=2, seed=3)
    assert len(log.users) == 2
    for number, user in enumerate(log.users.ids.tolist()):
        before = whole.users.ids.tolist().index(user)
        ours = log.catalogue.ids[log.items[log.offsets[number] : log.offsets[number + 1]] - 1]
        theirs = whole.catalogue.ids[whole.items[whole.offsets[before] : whole.offsets[before + 1]] - 1]
        assert ours.tolist() == theirs.tolist()
    assert set(log.items) == set(range(1, len(log.catalogue) + 1))
    assert log.counts["users_not_sampled"] == 1


def test_one_seed_one_sample(folder):
    samples = [load_amazon(folder, 1, 1, max_users=2, seed=5).users.ids.tolist() for _ in range(2)]
    assert samples[0] == samples[1]


def test_an_item_without_a_row_has_no_category(folder):
    items = pd.read_parquet(folder / "items.parquet")
    items[items["item_id"] != 40].to_parquet(folder / "items.parquet")
    assert load_amazon(folder, 1, 1).catalogue.categories[2].tolist() == [0, 0]


def test_an_item_with_two_rows_is_refused(folder):
    items = pd.read_parquet(folder / "items.parquet")
    pd.concat([items, items[:1]]).to_parquet(folder / "items.parquet")
    with pytest.raises(ValueError, match=r"items.parquet, row 5, column 'item_id': expected each id once, got 30"):
        load_amazon(folder, 1, 1)


def test_the_folder_may_lie_in_the_one_given(folder, tmp_path):
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "amazon").symlink_to(folder)
    assert len(load_amazon(tmp_path / "above", 1, 1).users) == 3


def test_moments_of_all_users_are_refused_whatever_filters_left(folder):
    log = cap_histories(load_amazon(folder, 1, 2), 2)
    assert log.timestamps.tolist() == [1, 2, 1, 2]  # no longer all places from 0, by which they might be told
    with pytest.raises(ValueError, match="split: 'time' expects users who share a clock"):
        split_by_time(log, protocol="next")


def test_a_folder_without_the_files_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_dir: expected a folder that holds interactions.parquet and"):
        load_amazon(tmp_path)


def test_no_folder_at_all_says_how_to_give_one():
    with pytest.raises(FileNotFoundError, match="as --data_dir or in DCCL_DATA, got none"):
        load_amazon()


@pytest.fixture
def load():
    with flagsaver.flagsaver():

        def load(**chosen):
            flags.FLAGS.mark_as_parsed()
            for name, value in chosen.items():
                flags.FLAGS[name].value = value
            return load_log(flags.FLAGS)[0]

        yield load


def test_flags_load_it_with_filters_and_sample(load, folder):
    data = {"dataset": "amazon", "data_dir": str(folder), "min_user_interactions": 1, "min_item_interactions": 1}
    assert len(load(**data).users) == 3
    assert len(load(**data, max_users=2).users) == 2


def test_a_sample_of_another_data_set_is_refused(load):
    with pytest.raises(ValueError, match="max_users: expected --dataset=amazon beside it"):
        load(dataset="ml-100k", max_users=5)


@pytest.mark.skipif(not (REAL / "amazon").exists(), reason="the real amazon folder lies not beside the checkout")
def test_the_real_one():
    log = load_amazon(REAL)
    assert (len(log.users), len(log.catalogue), len(log.items)) == (50_653, 19_102, 739_132)
    assert log.lengths.min() == 8
    assert np.bincount(log.items)[1:].min() == 8
    assert (log.catalogue.categories[1:-1, 0] > 0).all()

"""What goes into the log, and what is refused before it does."""

import numpy as np
import pytest

from device_runtime import InputError
from device_runtime.learning.rows import encode_rows
from device_runtime.log.database import Database
from device_runtime.log.samples import Interaction, SampleLog

V, T = 20, 5


def rows(device, negatives=0, seed=0):
    """The training rows as (history, history labels, candidate, label), oldest first."""
    encoded = encode_rows(device._folder.samples.read(), device.bundle.vocabulary, T, negatives, seed)
    return [
        (encoded.items[at : at + T].tolist(), encoded.item_labels[at : at + T].tolist(), int(candidate), float(label))
        for at, candidate, label in zip(encoded.at, encoded.candidates, encoded.labels, strict=True)
    ]


def test_an_interaction_is_a_sample_whose_history_is_what_came_before(device):
    device.log(101)
    device.log(103, label=0)
    device.log(102)
    assert rows(device) == [
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0], 1, 1.0),
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], 3, 0.0),
        ([0, 0, 0, 1, 3], [0, 0, 0, 1, 0], 2, 1.0),
    ]


def test_skipped_items_are_negatives_with_the_same_history_and_never_history(device):
    device.log(101)
    device.log(102, skipped=[110, 111])
    device.log(103)
    assert rows(device) == [
        ([0, 0, 0, 0, 0], [0] * 5, 1, 1.0),
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], 2, 1.0),
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], 10, 0.0),
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], 11, 0.0),
        ([0, 0, 0, 1, 2], [0, 0, 0, 1, 1], 3, 1.0),
    ]


def test_the_newest_t_interactions_are_the_history(device):
    device.log_many(range(101, 109))
    assert rows(device)[-1][0] == [3, 4, 5, 6, 7]


def test_history_alone_is_no_sample(device):
    device.remember([101, 102])
    device.log(103)
    assert device.history_size == 3
    assert rows(device) == [([0, 0, 0, 1, 2], [0, 0, 0, 1, 1], 3, 1.0)]


def test_many_at_once_are_the_same_as_one_by_one(device, tmp_path, bundle):
    from device_runtime import Device

    items, labels, skipped = [101, 105, 101, 999], [1, 0, 1, 1], [[102], [], [103, 104], []]
    device.log_many(items, labels, skipped, [1, 2, 3, 4])
    with Device.open(tmp_path / "other", bundle) as other:
        for event in zip(items, labels, skipped, [1, 2, 3, 4], strict=True):
            other.log(*event)
        assert rows(other) == rows(device)


def test_an_item_outside_the_vocabulary_is_kept_and_counted(device):
    device.log(999)
    device.log_many([2**31 - 1, 101])
    assert [row[2] for row in rows(device)] == [V + 1, V + 1, 1]
    assert device.state["counts"] == {"logged": 3, "unknown_logged": 2}


@pytest.mark.parametrize("label", [np.nan, np.inf, -np.inf, 2.0, -1, 0.5, None, "1"])
def test_a_label_other_than_0_and_1_is_refused_and_the_device_is_as_before(device, label):
    device.log(101)
    vector = device.vector
    with pytest.raises(InputError, match=r"label \(row 0\): expected 0 or 1, got"):
        device.log(102, label=label)
    assert device.state["log"]["history"] == 1
    np.testing.assert_array_equal(device.vector, vector)


@pytest.mark.parametrize("label", [1, 1.0, True, np.float64(1), np.int64(1), np.True_])
def test_a_label_of_any_type_that_is_1_is_taken(device, label):
    device.log(101, label=label)
    assert rows(device)[0][3] == 1.0


def test_one_wrong_row_keeps_the_others_out_too_and_is_named(device):
    with pytest.raises(InputError, match=r"label \(row 2\): expected 0 or 1, got nan"):
        device.log_many([101, 102, 103], [1.0, 0.0, np.nan])
    with pytest.raises(InputError, match=r"item: .* never negative, got -1 \(int\) at position 1"):
        device.log_many([101, -1, 103])
    assert device.state["log"] == {"history": 0, "samples": 0, "sample_interactions": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"item": "101"}, "item: expected a whole number"),
        ({"item": 101, "skipped": [101]}, r"skipped \(row 0\): expected other items than the one chosen, got 101"),
        ({"item": 101, "skipped": [-2]}, r"skipped \(row 0\): .* never negative, got -2"),
        ({"item": 101, "skipped": 102}, r"skipped \(row 0\): expected a list of item ids, got 102"),
        ({"item": 101, "timestamp": np.nan}, r"timestamp \(row 0\): expected whole seconds, got nan"),
        ({"item": 101, "timestamp": 2**70}, r"timestamp \(row 0\): expected whole seconds"),
    ],
)
def test_a_wrong_interaction_is_refused_by_name(device, arguments, message):
    with pytest.raises(InputError, match=message):
        device.log(**arguments)
    assert device.state["log"]["history"] == 0


def test_columns_of_different_lengths_are_refused(device):
    with pytest.raises(InputError, match="labels: expected 2 values, one for each item, got 1"):
        device.log_many([101, 102], [1])


def test_negatives_are_drawn_after_clicks_that_stand_alone(device):
    device.log_many([101, 102, 103], [1, 1, 0], skipped=[[], [110], []])
    drawn = rows(device, negatives=3)
    assert [(row[2], row[3]) for row in drawn if row[2] in (1, 2, 3, 10)] == [(1, 1), (2, 1), (10, 0), (3, 0)]
    assert [row[3] for row in drawn] == [1, 0, 0, 0, 1, 0, 0]
    assert all(row[0] == [0] * T for row in drawn[:4])  # they share the click's history


def test_negatives_are_never_what_the_user_met_or_was_shown(device):
    met, shown = list(range(101, 116)), [116, 117]
    device.log_many(met, skipped=[shown if item == 115 else [] for item in met])
    drawn = [row[2] for row in rows(device, negatives=3, seed=9) if row[3] == 0 and row[2] not in (16, 17)]
    assert set(drawn) == {18, 19, 20}
    assert len(drawn) == 3 * 14  # the click with something skipped beside it draws none
    for begin in range(0, len(drawn), 3):
        assert sorted(drawn[begin : begin + 3]) == [18, 19, 20]  # no repeat


def test_negatives_are_fewer_where_the_vocabulary_is_exhausted(device):
    device.log_many(range(101, 120))
    assert [row[2] for row in rows(device, negatives=4)[:2]] == [1, 20]


def test_one_seed_draws_one_set_of_negatives(device):
    device.log_many([101, 102, 103])
    assert rows(device, negatives=4, seed=1) == rows(device, negatives=4, seed=1)
    assert rows(device, negatives=4, seed=1) != rows(device, negatives=4, seed=2)


def test_pruning_keeps_the_newest_samples_with_the_history_that_they_need(device):
    device.log_many(range(101, 121), skipped=[[200]] * 20)
    before = rows(device)
    device.prune(keep=3)
    assert rows(device) == before[-6:]
    assert device.state["log"] == {"history": 3 + T, "samples": 6, "sample_interactions": 3}


def test_pruning_everything_keeps_a_history_to_rank_with(device):
    device.log_many(range(101, 121))
    scores = device.scores([101, 102])
    device.prune(keep=0)
    assert device.state["log"] == {"history": T, "samples": 0, "sample_interactions": 0}
    np.testing.assert_array_equal(device.scores([101, 102]), scores)


def test_pruning_less_than_there_is_changes_nothing(device):
    device.remember([101, 102])
    device.log_many([103, 104])
    before = rows(device)
    device.prune(keep=10)
    assert rows(device) == before


def test_strings_and_numbers_come_back_as_they_were(tmp_path):
    database = Database(tmp_path / "samples.sqlite")
    SampleLog(database).append([Interaction("00123", 1, 0), Interaction(123, 0, 0), Interaction("é", 1, 0)])
    database.close()
    assert SampleLog(Database(tmp_path / "samples.sqlite")).newest(5).items == ["00123", 123, "é"]

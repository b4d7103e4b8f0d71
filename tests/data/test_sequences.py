"""Sorting and splitting: the numbers are worked out by hand in each test."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import Span
from dccl_tf.data.sequences import (
    padding_share,
    sorted_log,
    split_by_time,
    split_liked,
    split_next,
    with_negatives_left,
)
from tests.data.logs import catalogue, log_of, users


def bounds(span):
    return list(zip(span.start.tolist(), span.stop.tolist(), strict=True))


def of_length(*lengths, labels=False):
    return log_of(*(list(range(1, n + 1)) for n in lengths), labels=labels)


def test_ties_keep_the_order_of_the_log():
    log = sorted_log(
        np.array([1, 0, 1, 0, 1]), np.array([5, 4, 3, 2, 1]), np.array([7, 9, 7, 3, 2]), None,
        users=users(2), catalogue=catalogue(5),
    )  # fmt: skip
    assert log.items.tolist() == [2, 4, 1, 5, 3]  # user 0 at 3 and 9; user 1 at 2 and twice at 7
    assert log.offsets.tolist() == [0, 2, 5]


def test_a_user_without_interactions_has_an_empty_sequence():
    log = sorted_log(np.array([2]), np.array([1]), np.array([0]), None, users=users(3), catalogue=catalogue(1))
    assert log.lengths.tolist() == [0, 0, 1]


def test_item_outside_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="items: expected 1 to 3, got 4 to 4"):
        sorted_log(np.array([0]), np.array([4]), np.array([0]), None, users=users(1), catalogue=catalogue(3))


def test_touched_gives_the_first_meeting_of_each_pair():
    owners, items, first = log_of([3, 1, 3], [], [2, 2]).touched
    assert (owners.tolist(), items.tolist(), first.tolist()) == ([0, 0, 2], [1, 3, 2], [1, 0, 0])


def test_next_takes_last_and_halves_the_rest():
    split = split_next(of_length(12), rounds=2)  # 10 older: 5 and 5; the second 5 are cut into 3 and 2
    assert bounds(split.pretrain) == [(0, 5)]
    assert [bounds(span) for span in split.rounds] == [[(5, 8)], [(8, 10)]]
    assert bounds(split.valid) == [(10, 11)]
    assert bounds(split.test) == [(11, 12)]


def test_short_users_take_part_as_far_as_they_can():
    split = split_next(of_length(1, 2, 3, 4), rounds=1)
    assert bounds(split.pretrain) == [(0, 1), (0, 1), (0, 1), (0, 1)]
    assert bounds(split.rounds[0]) == [(1, 1), (1, 1), (1, 1), (1, 2)]
    assert bounds(split.valid) == [(1, 1), (1, 1), (1, 2), (2, 3)]
    assert bounds(split.test) == [(1, 1), (1, 2), (2, 3), (3, 4)]


def test_split_counts_positions_and_absent_users():
    counts = split_next(of_length(1, 2, 3, 4), rounds=1).counts
    assert counts["test_positions"] == 3
    assert counts["users_without_test"] == 1
    assert counts["users_without_round_1"] == 3


def test_liked_holds_out_a_fifth_and_a_tenth():
    split = split_liked(of_length(23, labels=True), rounds=1)  # 4.6 -> 5 test, 2.3 -> 2 valid, 16 -> 8 and 8
    assert bounds(split.test) == [(18, 23)]
    assert bounds(split.valid) == [(16, 18)]
    assert bounds(split.pretrain) == [(0, 8)]
    assert bounds(split.rounds[0]) == [(8, 16)]


def test_liked_rounds_a_half_upwards_and_keeps_at_least_one():
    split = split_liked(of_length(1, 2, 3, 15, labels=True))
    assert bounds(split.test) == [(1, 1), (1, 2), (2, 3), (12, 15)]
    assert bounds(split.valid) == [(1, 1), (1, 1), (1, 2), (10, 12)]  # 1.5 -> 2


def test_liked_without_labels_is_refused():
    with pytest.raises(ValueError, match="labels"):
        split_liked(of_length(5))


@pytest.mark.parametrize("splitter", [split_next, split_liked])
@pytest.mark.parametrize("rounds", [1, 3])
def test_phases_follow_each_other_and_cover_everything(splitter, rounds):
    log = of_length(*range(1, 40), labels=True)
    split = splitter(log, rounds)
    spans = [split.pretrain, *split.rounds, split.valid, split.test]
    assert (spans[0].start == 0).all()
    for before, after in pairwise(spans):
        np.testing.assert_array_equal(before.stop, after.start)
    np.testing.assert_array_equal(spans[-1].stop, log.lengths)


def by_time():
    """Ten moments 0..9: user 0 acts at every one, user 1 at 0, 7 and 9."""
    owners = np.array([0] * 10 + [1] * 3)
    times = np.array([*range(10), 0, 7, 9])
    return sorted_log(owners, times + 1, times, times % 2, users=users(2), catalogue=catalogue(10))


def test_time_split_cuts_all_users_at_the_same_moments():
    # Sorted times 0 0 1 2 3 4 5 6 7 7 8 9 9: shares 0.5, 0.75 and 0.9 of 13 are entries 6, 9 and 11: moments 5, 7, 9.
    split = split_by_time(by_time(), protocol="liked", pretrain=0.5, collaborate=0.25, valid=0.15)
    assert bounds(split.pretrain) == [(0, 5), (0, 1)]
    assert bounds(split.rounds[0]) == [(5, 7), (1, 1)]
    assert bounds(split.valid) == [(7, 9), (1, 2)]
    assert bounds(split.test) == [(9, 10), (2, 3)]


def test_time_split_for_next_judges_the_last_of_each_part():
    split = split_by_time(by_time(), protocol="next", pretrain=0.5, collaborate=0.25, valid=0.15)
    assert bounds(split.valid) == [(8, 9), (1, 2)]
    assert bounds(split.pretrain) == [(0, 5), (0, 1)]


def test_time_split_needs_users_who_share_a_clock():
    owners, places = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    log = sorted_log(owners, places + 1, places, places % 2, users=users(2), catalogue=catalogue(3))
    with pytest.raises(ValueError, match="split: 'time' expects users who share a clock"):
        split_by_time(log, protocol="next")


def test_time_split_asks_the_log_whether_users_share_a_clock():
    assert split_by_time(by_time(), protocol="next")
    with pytest.raises(ValueError, match="split: 'time' expects users who share a clock"):
        split_by_time(replace(by_time(), shared_clock=False), protocol="next")


def test_time_split_needs_something_for_the_test():
    with pytest.raises(ValueError, match="less than 1"):
        split_by_time(by_time(), protocol="next", pretrain=0.5, collaborate=0.4, valid=0.1)


def test_padding_share_by_hand():
    span = Span(np.array([0, 0, 2]), np.array([5, 1, 2]))
    assert padding_share(span, positions=4) == pytest.approx(0.5)  # 6 of 3 rows of 4


def test_training_ends_before_a_user_has_touched_every_item():
    # The first user meets the third and last item at position 3, the second never does.
    log = log_of([1, 2, 1, 3, 1, 2, 3, 1, 1, 1], [1, 2, 1, 2, 1, 2, 1, 2, 1, 1], items=3)
    whole = split_next(log, rounds=2)  # of 8 positions to learn from, 4, 2 and 2
    split = with_negatives_left(log, whole)
    spans = [(span.start.tolist(), span.stop.tolist()) for span in (split.pretrain, *split.rounds)]
    assert spans == [([0, 0], [3, 4]), ([3, 4], [3, 6]), ([3, 6], [3, 8])]
    assert (split.valid, split.test) == (whole.valid, whole.test)
    for span in (split.pretrain, *split.rounds):
        assert NegativeSampler(log, span.stop).available.all()


def test_a_split_that_leaves_negatives_stays_itself():
    log = log_of([1, 2, 3], [4])
    split = split_next(log)
    assert with_negatives_left(log, split) is split

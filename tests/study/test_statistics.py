"""Means, spreads and paired differences over seeds and users, by hand."""

import math

import numpy as np
import pytest

from dccl_tf.study.statistics import difference, summary, total

NAN = float("nan")


def by_seed(*rows):
    return {seed: np.array(row, np.float32) for seed, row in enumerate(rows)}


def test_mean_and_spread():
    found = summary(by_seed([0, 1, 1], [1, 1, 1]))
    # Seeds' means 2/3 and 1: mean 5/6, standard deviation (1/3) / sqrt(2).
    assert found.mean == pytest.approx(5 / 6)
    assert found.spread == pytest.approx(1 / 3 / math.sqrt(2))
    assert (found.users, found.seeds) == (3, (0, 1))


def test_one_seed_has_no_spread():
    assert summary(by_seed([0, 1])).spread is None


def test_the_interval_is_over_users_of_values_averaged_over_seeds():
    # Seeds differ, users do not: every resample of users has the mean 0.5.
    found = summary(by_seed([0, 0, 0], [1, 1, 1]))
    assert (found.low, found.high) == (0.5, 0.5)
    assert found.spread > 0.7


def test_a_user_who_does_not_count_for_one_seed_counts_for_none():
    found = summary(by_seed([0.5, 1, NAN], [0.5, NAN, NAN]))
    assert (found.mean, found.users) == (0.5, 1)


def test_no_user_who_counts_gives_nan_without_a_warning(recwarn):
    found = summary(by_seed([NAN, NAN]))
    assert math.isnan(found.mean)
    assert not recwarn.list


def test_a_difference_is_paired():
    ours, theirs = by_seed([0.2, 0.6], [0.4, 0.8]), by_seed([0.1, 0.5], [0.1, 0.5])
    found = difference(ours, theirs)
    # 0.1 for both users with the first seed, 0.3 with the second: 0.2 for each user, so the interval has no width.
    assert found.mean == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2)
    assert found.high == pytest.approx(0.2)
    assert found.spread == pytest.approx(0.2 / math.sqrt(2))
    assert found.relative == pytest.approx(0.2 / 0.3)  # of the others' mean, 0.3


def test_a_difference_takes_the_seeds_that_both_have():
    ours = {0: np.array([1.0]), 1: np.array([5.0])}
    theirs = {1: np.array([2.0]), 2: np.array([9.0])}
    found = difference(ours, theirs)
    assert (found.mean, found.seeds, found.spread) == (3.0, (1,), None)


def test_a_difference_counts_users_whom_both_count():
    found = difference(by_seed([1, NAN, 3]), by_seed([0.5, 1, NAN]))
    assert (found.mean, found.users) == (0.5, 1)
    assert found.relative == pytest.approx(0.5 / 0.5)


def gain(*of_seeds):
    """The difference of models whose every user gains as much, by seed."""
    return difference(by_seed(*([value, value] for value in of_seeds)), by_seed(*([0, 0] for _ in of_seeds)))


def test_a_gain_that_another_seed_could_turn_round_is_not_clear():
    # 0 and 2: mean 1, spread sqrt(2), half-width 12.71 * sqrt(2) / sqrt(2) = 12.71 (Student's t, 1 degree of freedom).
    assert not gain(0.0, 2.0).clear
    assert gain(0.0, 2.0).low == 1.0  # users alone would have said so
    # 0.95 and 1.05: spread 0.0707, half-width 12.71 * 0.05 = 0.64, less than the mean of 1.
    assert gain(0.95, 1.05).clear


def test_one_seed_is_clear_by_its_users_alone():
    assert gain(1.0).clear
    assert not difference(by_seed([-1, 2]), by_seed([0, 0])).clear


def test_no_seed_in_common_is_refused():
    with pytest.raises(ValueError, match=r"expected a seed in common, got \[0\] and \[1\]"):
        difference({0: np.array([1.0])}, {1: np.array([1.0])})


def test_seeds_with_other_users_are_refused():
    with pytest.raises(ValueError, match=r"one number of users for all seeds, got \[1, 2\]"):
        summary({0: np.zeros(1), 1: np.zeros(2)})


def test_a_total_has_a_spread_and_no_interval():
    found = total({3: 0.1, 1: 0.3})
    assert (found.mean, found.seeds) == (pytest.approx(0.2), (1, 3))
    assert found.spread == pytest.approx(0.2 / math.sqrt(2))
    assert math.isnan(found.low)

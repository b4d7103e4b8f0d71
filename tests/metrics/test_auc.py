"""AUC of each user by hand (hostile rows M5 and M7), against counting pairs, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dccl_tf.metrics import estimate, group_auc, user_auc


def test_auc_by_hand():  # M7
    users = np.zeros(4, int)
    assert user_auc(users, [0, 1, 0, 1], [0.5001, 0.5002, 0.5001, 0.5003], 1) == [1.0]
    assert user_auc(users, [0, 1, 0, 1], [1, 1, 1, 1], 1) == [0.5]
    # pairs: (2 > 1), (2 < 3), (0 < 1), (0 < 3): one of four.
    assert user_auc(users, [0, 1, 0, 1], [1, 2, 3, 0], 1) == [0.25]


def test_one_class_and_absent_users_are_skipped_and_counted():  # M5
    auc = user_auc(np.array([0, 0, 1, 1, 3]), [1, 1, 0, 1, 0], [1, 2, 1, 2, 5], 5)
    np.testing.assert_array_equal(auc, [np.nan, 1.0, np.nan, np.nan, np.nan])
    found = estimate(auc)
    assert (found.mean, found.users, found.skipped) == (1.0, 1, 4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=30))
def test_auc_equals_counting_pairs(rows):
    users, labels, scores = map(np.array, zip(*rows, strict=True))
    found = user_auc(users, labels, scores, 3)
    for user in range(3):
        liked, other = (scores[(users == user) & (labels == label)] for label in (1, 0))
        pairs = [(a > b) + 0.5 * (a == b) for a in liked for b in other]
        expected = np.mean(pairs) if pairs else np.nan
        np.testing.assert_allclose(found[user], expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=30), st.data())
def test_order_of_samples_does_not_matter(rows, data):
    shuffled = data.draw(st.permutations(rows))
    one, two = (user_auc(*map(np.array, zip(*each, strict=True)), 3) for each in (rows, shuffled))
    np.testing.assert_array_equal(one, two)


def test_no_samples_give_no_auc():
    np.testing.assert_array_equal(user_auc([], [], [], 2), [np.nan, np.nan])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], [0, 1], [1.0, np.nan]), r"scores: .*NaN at \[1\]"),
        (([0, 0], [0, 2], [1.0, 2.0]), "labels: expected 0 or 1, got 2"),
        (([0, 0], [0, np.nan], [1.0, 2.0]), "labels: expected 0 or 1, got nan"),
        (([0, 7], [0, 1], [1.0, 2.0]), "users: .*0 to 1, got 0 to 7"),
        (([0, -1], [0, 1], [1.0, 2.0]), "users: .*got -1 to 0"),
        (([0.0, 1.0], [0, 1], [1.0, 2.0]), "users: expected whole numbers"),
        (([0], [0, 1], [1.0, 2.0]), r"users: expected shape \(2,\).*\(1,\)"),
        (([0, 0], [[0, 1]], [1.0, 2.0]), r"labels: expected shape \(2,\)"),
        (([[0, 0]], [[0, 1]], [[1.0, 2.0]]), r"scores: expected shape \[N\]"),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        user_auc(*arguments, 2)


def test_the_mean_of_group_auc_weighs_users_by_samples():
    # Of the two users that count, with 2 samples on average: (1 * 1 + 0.5 * 3) / 4 = 0.625, and around it
    # 0.375 * 1 / 2 and -0.125 * 3 / 2.
    values = group_auc(np.array([1.0, 0.5, np.nan, 0.7]), np.array([1, 3, 9, 0]))
    np.testing.assert_allclose(values, [0.625 + 0.1875, 0.625 - 0.1875, np.nan, np.nan])
    assert np.nanmean(values) == pytest.approx(0.625)


def test_users_who_are_all_alike_leave_no_doubt_about_group_auc():
    found = estimate(group_auc(np.full(50, 0.7), np.arange(1, 51)))
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))


def test_group_auc_of_nobody_counts_nobody():
    assert np.isnan(group_auc([np.nan, 0.5], [3, 0])).all()


def test_group_auc_refuses_negative_numbers_of_samples():
    with pytest.raises(ValueError, match="samples: expected at least 0, got -1"):
        group_auc([0.5], [-1])

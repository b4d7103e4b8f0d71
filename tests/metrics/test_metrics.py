"""Metrics by hand (hostile rows M5 to M8) and their identities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dccl_tf.metrics import (
    UserMean,
    estimate,
    expected_calibration_error,
    graded_ndcg,
    group_auc,
    hit_rate,
    log_loss,
    ndcg,
    paired_estimate,
    user_auc,
)


def test_second_place_by_hand():
    scores = np.array([[2.0, 3.0, 1.0, 0.0]])
    assert hit_rate(scores, 1) == [0.0]
    assert hit_rate(scores, 2) == [1.0]
    np.testing.assert_allclose(ndcg(scores, 5), [1 / np.log2(3)])


@pytest.mark.parametrize("k", [1, 5, 10])
def test_constant_scores_share_all_places(k):  # M6
    scores = np.zeros((2, 101))
    np.testing.assert_allclose(hit_rate(scores, k), k / 101)
    np.testing.assert_allclose(ndcg(scores, k), sum(1 / np.log2(rank + 1) for rank in range(1, k + 1)) / 101)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(1, 8), st.randoms())
def test_order_of_the_others_does_not_matter(row, k, random):
    others = row[1:]
    random.shuffle(others)
    for metric in (hit_rate, ndcg):
        assert metric(np.array([row]), k)[0] == pytest.approx(metric(np.array([row[:1] + others]), k)[0])


def test_masked_candidates_do_not_compete():
    scores = np.array([[1.0, 9.0, 0.0]])
    assert hit_rate(scores, 1, np.array([[True, False, True]])) == [1.0]


def test_nan_score_is_named():
    with pytest.raises(ValueError, match=r"scores.*NaN in row 1"):
        hit_rate(np.array([[1.0, 2.0], [np.nan, 1.0]]), 1)


def test_graded_ndcg_of_the_textbook():  # M8
    assert graded_ndcg([3, 2, 3, 0, 1, 2], [3, 3, 3, 2, 2, 2, 1, 0], 6) == pytest.approx(0.785, abs=5e-4)


def test_auc_by_hand():  # M7
    users = np.zeros(4, int)
    assert user_auc(users, [0, 1, 0, 1], [0.5001, 0.5002, 0.5001, 0.5003], 1) == [1.0]
    assert user_auc(users, [0, 1, 0, 1], [1, 1, 1, 1], 1) == [0.5]
    # pairs: (2 > 1), (2 < 3), (0 < 1), (0 < 3): one of four.
    assert user_auc(users, [0, 1, 0, 1], [1, 2, 3, 0], 1) == [0.25]


def test_one_class_and_absent_users_are_skipped_and_counted():  # M5
    auc = user_auc(np.array([0, 0, 1, 1, 3]), [1, 1, 0, 1, 0], [1, 2, 1, 2, 5], 4)
    np.testing.assert_array_equal(auc, [np.nan, 1.0, np.nan, np.nan])
    found = estimate(auc)
    assert (found.mean, found.users, found.skipped) == (1.0, 1, 3)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=30))
def test_auc_equals_counting_pairs(rows):
    users, labels, scores = map(np.array, zip(*rows, strict=True))
    found = user_auc(users, labels, scores, 3)
    for user in range(3):
        liked, other = (scores[(users == user) & (labels == label)] for label in (1, 0))
        pairs = [(a > b) + 0.5 * (a == b) for a in liked for b in other]
        expected = np.mean(pairs) if pairs else np.nan
        np.testing.assert_allclose(found[user], expected)


def test_group_auc_weighs_by_samples():
    assert group_auc(np.array([1.0, 0.5, np.nan]), np.array([1, 3, 9])) == pytest.approx((1.0 + 1.5) / 4)


def test_log_loss_by_hand():
    np.testing.assert_allclose(log_loss([1, 0], np.log([3.0, 3.0])), [np.log(4 / 3), np.log(4)])
    assert np.isfinite(log_loss([0, 1], [800.0, -800.0])).all()


def test_calibration_error_by_hand():
    """Two samples of probability 3/4, one liked: off by 1/4; two of probability 1/2, one liked: not off."""
    error = expected_calibration_error(np.array([1, 0, 1, 0]), np.array([np.log(3), np.log(3), 0.0, 0.0]), bins=10)
    assert error == pytest.approx(0.125)


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=12), st.integers(0, 12))
def test_merge_order_does_not_matter(values, cut):
    users = np.arange(len(values))
    one, two = UserMean(), UserMean()
    one.add(users[:cut], values[:cut])
    two.add(users[cut:], values[cut:])
    whole = UserMean()
    whole.add(users[::-1], values[::-1])
    np.testing.assert_equal(one.merge(two).compute(), whole.compute())
    np.testing.assert_equal(two.merge(one).compute(), whole.compute())


def test_user_added_twice_is_named():
    part = UserMean()
    part.add([3], [1.0])
    with pytest.raises(ValueError, match="3 again"):
        part.add([3], [1.0])


def test_interval_is_that_of_the_normal_law():
    """For 2,500 values of deviation 1 the standard error is 0.02: the interval is the mean +- 0.0392."""
    values = np.random.default_rng(0).normal(size=2500)
    values = (values - values.mean()) / values.std()
    found = estimate(values)
    assert (found.low, found.high) == (pytest.approx(-0.0392, abs=0.004), pytest.approx(0.0392, abs=0.004))
    assert estimate(values) == found


def test_paired_interval_is_narrow_where_models_move_together():
    base = np.random.default_rng(0).normal(size=500)
    assert paired_estimate(base + 0.1, base).high == pytest.approx(0.1)

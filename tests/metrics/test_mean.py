"""Means over users and their intervals."""

import numpy as np
import pytest

from dccl_tf.metrics import estimate, paired_estimate


def test_mean_leaves_out_and_counts_nan():
    found = estimate([1.0, np.nan, 0.5])
    assert (found.mean, found.users, found.skipped) == (0.75, 2, 1)


def test_nobody_counts_gives_nan():
    for values in ([], [np.nan, np.nan]):
        found = estimate(values)
        assert np.isnan([found.mean, found.low, found.high]).all()
        assert (found.users, found.skipped) == (0, len(values))


def test_one_user_has_an_interval_of_no_width():
    found = estimate([0.25])
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_interval_is_that_of_the_normal_law():
    """For 2,500 values of deviation 1 the standard error is 0.02: the interval is the mean +- 0.0392."""
    values = np.random.default_rng(0).normal(size=2500)
    values = (values - values.mean()) / values.std()
    found = estimate(values)
    assert (found.low, found.high) == (pytest.approx(-0.0392, abs=0.004), pytest.approx(0.0392, abs=0.004))


def test_one_seed_gives_one_interval():
    values = np.random.default_rng(0).normal(size=100)
    assert estimate(values, seed=1) == estimate(values, seed=1)
    assert estimate(values, seed=1) != estimate(values, seed=2)


def test_drawing_many_at_once_changes_nothing():
    """The resamples are those that a plain loop draws from the same generator."""
    values = np.random.default_rng(0).normal(size=700)  # 1,000 resamples of them take several draws
    rng = np.random.default_rng(5)
    means = [values[rng.integers(700, size=700)].mean() for _ in range(1000)]
    found = estimate(values, seed=5)
    np.testing.assert_allclose([found.low, found.high], np.quantile(means, [0.025, 0.975]), rtol=1e-12)


def test_paired_interval_is_narrow_where_models_move_together():
    base = np.random.default_rng(0).normal(size=500)
    found = paired_estimate(base + 0.1, base)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_paired_users_count_only_if_both_do():
    found = paired_estimate([1.0, np.nan, 3.0], [0.5, 0.5, np.nan])
    assert (found.mean, found.users, found.skipped) == (0.5, 1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 95}, "level"),
        ({"resamples": 0}, "resamples"),
        ({"values": [[1.0, 2.0]]}, r"values: .*\(1, 2\)"),
        ({"values": [1.0, np.inf]}, "values: .*infinity"),
    ],
)
def test_what_is_wrong_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        estimate(**{"values": [1.0, 2.0]} | options)


def test_models_judged_on_other_users_cannot_be_paired():
    with pytest.raises(ValueError, match=r"baseline: expected shape \(3,\).*\(1,\)"):
        paired_estimate([1.0, 2.0, 3.0], [1.0])

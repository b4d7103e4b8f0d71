"""Means over users, and how sure of them one can be."""

from dataclasses import dataclass

import numpy as np

from dccl_tf.metrics import checks

RESAMPLED_AT_ONCE = 2**16  # values drawn together: few loops for few users, little memory for many


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float
    users: int  # that count
    skipped: int  # that the metric does not count, such as those with one class of label


def estimate(values: np.ndarray, seed: int = 0, level: float = 0.95, resamples: int = 1000) -> Estimate:
    """Mean and percentile bootstrap interval over users (Efron, 1979).

    Args:
      values: [U], NaN for users that do not count.
      seed: of the resampling; one seed, one interval.
      level: of the interval, between 0 and 1.
      resamples: number of bootstrap samples, at least 1.

    Returns:
      Mean and interval are NaN if no user counts.

    Raises:
      ValueError: `values` holds infinity, which has no interval, or an argument is not as above.
    """
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level, resamples: expected between 0 and 1, and at least 1, got {level} and {resamples}")
    values = np.asarray(values, float)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(f"values: expected one finite number or NaN a user, got shape {values.shape} or infinity")
    known = values[~np.isnan(values)]
    skipped = len(values) - len(known)
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan, 0, skipped)
    rng = np.random.default_rng(seed)
    at_once = max(1, RESAMPLED_AT_ONCE // len(known))
    draws = (min(at_once, resamples - done) for done in range(0, resamples, at_once))
    means = np.concatenate([known[rng.integers(len(known), size=(rows, len(known)))].mean(axis=1) for rows in draws])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(known.mean()), float(low), float(high), len(known), skipped)


def paired_estimate(values: np.ndarray, baseline: np.ndarray, seed: int = 0) -> Estimate:
    """Mean difference of two models on the same users, `values` - `baseline` (both [U]), with its interval; only
    users that both count. Raises ValueError if their shapes differ."""
    values, baseline = np.asarray(values, float), np.asarray(baseline, float)
    checks.same_shape("baseline", baseline, like=values)
    return estimate(values - baseline, seed)

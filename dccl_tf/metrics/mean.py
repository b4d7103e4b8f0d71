"""Means over users that can be gathered in parts, and how sure of them one can be."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float
    users: int  # that count
    skipped: int  # that the metric does not count, such as those with one class of label


@dataclass
class UserMean:
    """Gathers a metric user by user; parts merge in any order."""

    values: dict[int, float] = field(default_factory=dict)  # user to value, NaN = skipped

    def add(self, users: np.ndarray, values: np.ndarray) -> None:
        """users int [N], each once over all parts; values [N], NaN for users that do not count."""
        for user, value in zip(np.asarray(users).tolist(), np.asarray(values, float).tolist(), strict=True):
            if user in self.values:
                raise ValueError(f"users: expected each user once, got {user} again")
            self.values[user] = value

    def merge(self, other: "UserMean") -> "UserMean":
        """Both parts together; neither is changed."""
        merged = UserMean(dict(self.values))
        merged.add(np.array(list(other.values), int), np.array(list(other.values.values())))
        return merged

    def compute(self, seed: int = 0) -> Estimate:
        """The mean; in the order of users, so that the order of merging does not matter to the last bit."""
        return estimate(np.array([self.values[user] for user in sorted(self.values)]), seed)


def estimate(values: np.ndarray, seed: int = 0, level: float = 0.95, resamples: int = 1000) -> Estimate:
    """Mean and percentile bootstrap interval over users (Efron, 1979).

    Args:
      values: [U], NaN for users that do not count.
      seed: of the resampling; one seed, one interval.
      level: of the interval.
      resamples: number of bootstrap samples.

    Returns:
      All NaN if no user counts.
    """
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    skipped = len(values) - len(known)
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan, 0, skipped)
    rng = np.random.default_rng(seed)
    means = np.array([known[rng.integers(len(known), size=len(known))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(known.mean()), float(low), float(high), len(known), skipped)


def paired_estimate(values: np.ndarray, baseline: np.ndarray, seed: int = 0) -> Estimate:
    """Mean difference of two models on the same users, `values` - `baseline` (both [U]), with its interval; only
    users that both count."""
    return estimate(np.asarray(values, float) - np.asarray(baseline, float), seed)

"""From one value a user and a seed to what a page may claim.

Two things vary, and each is shown by itself: which seed trained the model (the spread, a standard deviation over
seeds), and which users it was judged on (the interval, a bootstrap over users of their values averaged over seeds). A
difference is clear if neither can explain it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from dccl_tf.metrics import Estimate, estimate

BySeed = Mapping[int, np.ndarray]  # seed to [U], NaN for users that the metric does not count


@dataclass(frozen=True)
class Summary:
    """A metric over users and seeds."""

    mean: float
    low: float  # of the 95% interval over users
    high: float
    spread: float | None  # standard deviation of the seeds' means; None with one seed
    users: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Difference(Summary):
    """A paired difference of two models: the same users and the same seeds."""

    relative: float | None  # share of the other model's mean by which the mean differs; None if that mean is 0

    @property
    def clear(self) -> bool:
        """The interval over users excludes 0, and so does that over seeds (95%, Student's t), where there are several:
        a run with another seed would hardly have another sign."""
        if not (self.low > 0 or self.high < 0):
            return False
        if self.spread is None:
            return True
        count = len(self.seeds)
        return bool(abs(self.mean) > student.ppf(0.975, count - 1) * self.spread / np.sqrt(count))

    def as_estimate(self) -> Estimate:
        return Estimate(self.mean, self.low, self.high, self.users, 0)


def summary(values: BySeed) -> Summary:
    """Mean, spread and interval.

    Raises:
      ValueError: no seed, or seeds that do not judge the same number of users.
    """
    seeds = tuple(sorted(values))
    table = _table([values[seed] for seed in seeds])
    found = estimate(table.mean(axis=0))
    return Summary(found.mean, found.low, found.high, _spread(_means(table)), found.users, seeds)


def difference(values: BySeed, others: BySeed) -> Difference:
    """`values` - `others` user by user, on the seeds that both have.

    Raises:
      ValueError: they have no seed in common.
    """
    seeds = tuple(sorted(values.keys() & others.keys()))
    if not seeds:
        raise ValueError(f"values, others: expected a seed in common, got {sorted(values)} and {sorted(others)}")
    table = _table([values[seed] for seed in seeds])
    other = _table([others[seed] for seed in seeds])
    found = estimate((table - other).mean(axis=0))
    base = _means(np.where(np.isnan(table), np.nan, other)).mean()
    return Difference(
        found.mean,
        found.low,
        found.high,
        _spread(_means(table - other)),
        found.users,
        seeds,
        relative=float(found.mean / base) if base else None,
    )


def total(values: Mapping[int, float]) -> Summary:
    """A figure of all users at once, such as a calibration error: it has a spread, and no interval over users."""
    seeds = tuple(sorted(values))
    if not seeds:
        raise ValueError("values: expected at least one seed, got none")
    found = np.array([values[seed] for seed in seeds], float)
    return Summary(float(found.mean()), float("nan"), float("nan"), _spread(found), 0, seeds)


def _table(values: list[np.ndarray]) -> np.ndarray:
    """[S, U]; a user who does not count for one seed counts for none."""
    sizes = {len(one) for one in values}
    if len(sizes) != 1:
        raise ValueError(f"values: expected one number of users for all seeds, got {sorted(sizes) or 'no seed'}")
    table = np.array(values, np.float64)
    return np.where(np.isnan(table).any(axis=0), np.nan, table)


def _means(table: np.ndarray) -> np.ndarray:
    """Each seed's mean over the users that count, [S]; NaN where none does."""
    counted = ~np.isnan(table[0])
    return table[:, counted].mean(axis=1) if counted.any() else np.full(len(table), np.nan)


def _spread(means: np.ndarray) -> float | None:
    return float(np.std(means, ddof=1)) if len(means) > 1 else None

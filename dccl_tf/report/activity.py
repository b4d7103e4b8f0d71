"""Who gains: models in groups of users by activity (Fig. 4, Section 4.2.2)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dccl_tf.metrics import Estimate, by_activity, paired_estimate


@dataclass(frozen=True)
class ActivityGroup:
    """One of the groups into which users are sorted by activity."""

    users: int
    interactions: float  # median of the group
    values: dict[str, float]  # model to mean, the baseline first
    gains: dict[str, Estimate]  # of every other model to its paired difference from the baseline


def activity_groups(
    interactions: np.ndarray, values: Mapping[str, np.ndarray], baseline: str
) -> tuple[list[ActivityGroup], list[np.ndarray]]:
    """Users that count for every model, most active first, in up to 20 equal groups.

    Args:
      interactions: [U] of each user.
      values: model to its metric [U], NaN for users that do not count.
      baseline: the model that gains are over, one of them.

    Returns:
      The groups, and the numbers of the users of each; none where there are too few users.
    """
    names = [baseline, *(name for name in values if name != baseline)]
    members = by_activity(interactions, ~np.isnan(sum(values.values())))
    groups = [
        ActivityGroup(
            users=len(users),
            interactions=float(np.median(interactions[users])),
            values={name: float(values[name][users].mean()) for name in names},
            gains={name: paired_estimate(values[name][users], values[baseline][users]) for name in names[1:]},
        )
        for users in members
    ]
    return groups, members

"""Users sorted into groups of equal size, as Fig. 4 shows them."""

import numpy as np

GROUPS = 20
LEAST_USERS = 20  # of a group: a mean over fewer says little


def by_activity(
    interactions: np.ndarray, counted: np.ndarray, groups: int = GROUPS, least: int = LEAST_USERS
) -> list[np.ndarray]:
    """The counted users, most active first, in equal groups (Section 4.2.2); ties keep the order of users.

    Args:
      interactions: [U] of each user.
      counted: bool [U], True for users that take part.
      groups: how many at most.
      least: users of a group; where there are fewer users than `groups * least`, there are fewer groups.

    Returns:
      Numbers of users, group by group; empty where not even one group is full.
    """
    users = np.flatnonzero(counted)
    groups = min(groups, len(users) // least)
    return np.array_split(users[np.argsort(-interactions[users], kind="stable")], groups) if groups else []

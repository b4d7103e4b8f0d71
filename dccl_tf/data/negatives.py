"""Items that a user has not touched, drawn uniformly and exactly: no rejection, no table of users times items.

A user's touched ids a_0 < a_1 < ... (from 1) leave gaps: a_i - 1 - i untouched ids lie below a_i. So the k-th
untouched id (from k = 0) is 1 + k + #(i : a_i - 1 - i <= k), and one sorted array of the gaps of all users answers
any number of such questions at once by binary search.
"""

import numpy as np

from dccl_tf.data.counter_random import random_below
from dccl_tf.data.schema import InteractionLog

_USERS_AT_ONCE = 8192


class NegativeSampler:
    """Uniform draws from the items that each user has not touched before a position.

    For training the position is the end of what may be seen so far. Held-out items must stay drawable: to leave
    them out would tell the model which items the user is going to meet.
    """

    def __init__(self, log: InteractionLog, stop: np.ndarray | None = None) -> None:
        """Args:
        log: all interactions.
        stop: [U] only interactions at positions before it count as touched; None: all do.
        """
        owners, items, first = log.touched
        if stop is not None:
            visible = first < np.asarray(stop)[owners]
            owners, items = owners[visible], items[visible]
        self._user_ids = log.users.ids
        numbers = log.users.numbers  # what a draw depends on, so that a part of a log draws as the whole does
        self._numbers = np.arange(len(log.users)) if numbers is None else np.asarray(numbers, np.int64)
        self._items = len(log.catalogue)
        touched = np.bincount(owners, minlength=len(log.users))
        self._starts = np.cumsum(touched) - touched  # [U] where a user's gaps begin
        self._stride = self._items + 1
        gaps = items - 1 - (np.arange(len(items)) - self._starts[owners])
        self._keys = owners * self._stride + gaps  # sorted: by user, then by gap
        self.available = self._items - touched  # [U] untouched items of each user

    def untouched(self, users: np.ndarray, k: np.ndarray) -> np.ndarray:
        """The k-th untouched item of each user, in order of ids; users and k (0 <= k < available) of one shape."""
        below = np.searchsorted(self._keys, users * np.int64(self._stride) + k, side="right") - self._starts[users]
        return (1 + k + below).astype(np.int32)

    def draw_for(self, users: np.ndarray, positions: np.ndarray, n: int, *, seed: int, epoch: int) -> np.ndarray:
        """Draws n items for each sample, repeats possible. They depend on seed, epoch, user and position alone, not on
        the other samples.

        Args:
          users: int [N].
          positions: int [N] in the users' sequences.
          n: items for each.
          seed: of the run.
          epoch: draws differ from epoch to epoch.

        Returns:
          int32 [N, n].

        Raises:
          ValueError: a user has touched every item.
        """
        users = np.asarray(users, np.int64)
        self._require(users, 1)
        owners, places = users[:, None], np.asarray(positions)[:, None]
        k = random_below(self.available[owners], seed, epoch, self._numbers[owners], places, np.arange(n))
        return self.untouched(np.broadcast_to(owners, k.shape), k)

    def draw_distinct(self, users: np.ndarray, n: int, seed: int) -> np.ndarray:
        """Draws n different items for each user, every set equally likely; depends on seed and user alone.

        Robert Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987), for many users at once.

        Args:
          users: int [N].
          n: items for each.
          seed: one seed, one list.

        Returns:
          int32 [N, n].

        Raises:
          ValueError: a user has fewer than n untouched items.
        """
        users = np.asarray(users, np.int64)
        self._require(users, n)
        parts = [self._floyd(users[i : i + _USERS_AT_ONCE], n, seed) for i in range(0, len(users), _USERS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, n), np.int32)

    def _floyd(self, users: np.ndarray, n: int, seed: int) -> np.ndarray:
        chosen = np.full((n, len(users)), -1, np.int64)  # users last: comparisons run along memory
        for i in range(n):
            last = self.available[users] - n + i
            k = random_below(last + 1, seed, self._numbers[users], i)
            chosen[i] = np.where((chosen[:i] == k).any(axis=0), last, k)
        owners = np.broadcast_to(users[:, None], (len(users), n))
        return self.untouched(owners, chosen.T)

    def _require(self, users: np.ndarray, n: int) -> None:
        if users.size and (fewest := self.available[users].min()) < n:
            user = self._user_ids[users.flat[self.available[users].argmin()]]
            raise ValueError(
                f"negatives: expected at least {n} items that a user has not touched, but user {user!r} has "
                f"{fewest} of {self._items}"
            )


def evaluation_negatives(log: InteractionLog, users: np.ndarray, n: int = 100, seed: int = 0) -> np.ndarray:
    """The items that a held-out one competes with (Section 4.1.1): never touched by the user, no repeats.

    Args:
      log: all interactions; every one of them counts as touched, the held-out ones too.
      users: int [N].
      n: items for each user.
      seed: one seed, one list: a user's items do not depend on who else is asked for.

    Returns:
      int32 [N, n].

    Raises:
      ValueError: a user has fewer than n untouched items.
    """
    return NegativeSampler(log).draw_distinct(users, n, seed)

"""Items that a user has not touched, drawn uniformly: exact, without rejection and without a loop over users.

With a user's touched ids a_0 < a_1 < ... (counted from 0), the k-th untouched id is k + #{i : a_i - i <= k}. The
values a_i - i of all users lie in one sorted array, offset by user, so that one binary search serves any batch.
"""

import numpy as np

from dccl_tf.data.schema import InteractionLog


class NegativeSampler:
    """Draws from the complement of what each user has touched in the visible part of the log."""

    def __init__(self, log: InteractionLog, stop: np.ndarray | None = None) -> None:
        """Args:
        log: all interactions.
        stop: [U] positions; what a user did from there on is not seen and may be drawn. Training passes the end of
          its span: to leave out what comes later would tell a model which items the user is going to meet. None:
          everything is seen, as evaluation wants.

        Raises:
          ValueError: some user has touched every item.
        """
        self.items = len(log.catalogue)
        lengths = log.lengths
        visible = lengths if stop is None else np.clip(stop, 0, lengths)
        owners = np.repeat(np.arange(len(lengths)), lengths)
        seen = np.arange(len(log.items)) - log.offsets[owners] < visible[owners]
        self._stride = np.int64(self.items + 1)
        touched = np.unique(owners[seen] * self._stride + (log.items[seen] - 1))
        owners, touched = touched // self._stride, touched % self._stride
        counts = np.bincount(owners, minlength=len(lengths))
        if len(counts) and counts.max() >= self.items:
            raise ValueError(
                f"log: user {int(counts.argmax())} has touched all {self.items} items, so none is left to draw; "
                "leave such users out"
            )
        self._first = np.concatenate([[0], np.cumsum(counts)])
        within = np.arange(len(touched)) - self._first[owners]
        self._keys = owners * self._stride + touched - within
        self.untouched = self.items - counts  # [U]

    def draw(self, users: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """For each user n untouched items, with repeats as they fall.

        Args:
          users: int [...].
          n: items for each.
          rng: the source of chance.

        Returns:
          int32 [..., n] in 1..V.
        """
        users = np.asarray(users)[..., None]
        return self.at(users, (rng.random((*users.shape[:-1], n)) * self.untouched[users]).astype(np.int64))

    def at(self, users: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """The untouched item number `ranks` (from 0, in the order of ids) of `users`; int32, shapes broadcast."""
        users, ranks = np.broadcast_arrays(np.asarray(users, np.int64), ranks)
        skipped = np.searchsorted(self._keys, users * self._stride + ranks, side="right") - self._first[users]
        return (ranks + skipped + 1).astype(np.int32)


def evaluation_negatives(log: InteractionLog, users: np.ndarray, n: int = 100, seed: int = 0) -> np.ndarray:
    """For each user n different items that the user never touches, before or after.

    Args:
      log: all interactions.
      users: [M].
      n: items for each.
      seed: one seed, one list.

    Returns:
      int32 [M, n] in 1..V.

    Raises:
      ValueError: a user has fewer than n untouched items.
    """
    sampler = NegativeSampler(log)
    left = sampler.untouched[users]
    if len(left) and left.min() < n:
        raise ValueError(
            f"n: expected at most the untouched items of every user, got {n}, "
            f"but user {int(users[left.argmin()])} has {int(left.min())}; ask for fewer or leave such users out"
        )
    rng = np.random.default_rng(seed)
    # Floyd's algorithm, all users at once: n different ranks below `left`, every subset equally likely.
    ranks = np.full((len(users), n), -1, np.int64)
    for i in range(n):
        top = left - n + i
        drawn = (rng.random(len(users)) * (top + 1)).astype(np.int64)
        taken = (ranks[:, :i] == drawn[:, None]).any(axis=1)
        ranks[:, i] = np.where(taken, top, drawn)
    return sampler.at(np.asarray(users)[:, None], ranks)

"""Small logs for tests of the data package."""

import numpy as np

from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.data.sequences import sorted_log


def users(count: int) -> Users:
    profile = (np.arange(count, dtype=np.int32) % 3)[:, None]
    return Users(np.arange(count) + 1000, profile, (ProfileField("age", ("young", "old")),))


def catalogue(count: int) -> Catalogue:
    """Item i has category 1 + i % 2."""
    categories = np.zeros((count + 2, 1), np.int32)
    categories[1:-1, 0] = 1 + np.arange(1, count + 1) % 2
    return Catalogue(np.arange(count) + 500, categories, ("even", "odd"))


def log_of(*sequences: list[int], items: int = 0, labels: bool = False) -> InteractionLog:
    """One user a sequence of model ids, a second apart; with labels, odd items are liked."""
    flat = np.array([item for sequence in sequences for item in sequence], np.int64)
    owners = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    times = np.array([time for sequence in sequences for time in range(len(sequence))], np.int64)
    return sorted_log(
        owners, flat, times, flat % 2 if labels else None,
        users=users(len(sequences)), catalogue=catalogue(items or int(flat.max())),
    )  # fmt: skip


def random_log(seed: int, count: int = 40, items: int = 60, longest: int = 30, labels: bool = False) -> InteractionLog:
    """Users with 1 to `longest` items, repeats possible."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest + 1, count)
    return log_of(*(random.integers(1, items + 1, n).tolist() for n in lengths), items=items, labels=labels)

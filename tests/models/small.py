"""A small data set and model for tests of the models."""

import numpy as np
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue, ProfileField, Users

V, T, K = 30, 6, 4
FIELDS = (ProfileField("age", ("young", "old")), ProfileField("job", ("clerk", "baker", "miner")))


def catalogue() -> Catalogue:
    """V items; item i has category 1 + i % 3, and every fourth item also category 4."""
    categories = np.zeros((V + 2, 2), np.int32)
    categories[1 : V + 1, 0] = 1 + np.arange(1, V + 1) % 3
    categories[4 : V + 1 : 4, 1] = 4
    return Catalogue(np.arange(100, 100 + V), categories, ("a", "b", "c", "d"))


def users(count: int = 5) -> Users:
    profile = np.stack([np.arange(count) % 3, np.arange(count) % 4], axis=1).astype(np.int32)
    return Users(np.arange(count), profile, FIELDS)


def cloud(seed: int = 0, **choices) -> CloudModel:
    tf.keras.utils.set_random_seed(seed)
    choices = {"item_width": 8, "category_width": 4, "profile_width": 3, "hidden": (10, 8, 6)} | choices
    return CloudModel.for_data(
        catalogue(), users(), length=K, bottlenecks=(3, 3, 3)[: len(set((0, 1, len(choices["hidden"]) - 1)))],
        **({"history_length": T} | choices),
    )  # fmt: skip


def packed(seed: int = 0, rows: int = 3, positions: int = 4, candidates: int = 2, labels: bool = False) -> dict:
    """A random packed batch; the first row begins with padding."""
    random = np.random.default_rng(seed)
    history = random.integers(1, V + 1, (rows, T + positions - 1)).astype(np.int32)
    history[0, :T] = 0
    batch = {
        "history": history,
        "candidates": random.integers(1, V + 1, (rows, positions, candidates)).astype(np.int32),
        "profile": users().profile[:rows],
    }
    if labels:
        batch["history_labels"] = random.integers(0, 2, history.shape).astype(np.int32) * (history > 0)
    return {name: tf.constant(value) for name, value in batch.items()}


def at(batch: dict, position: int) -> dict:
    """The point form of one position of a packed batch: its own T items of history, its own candidates."""
    point = {"candidates": batch["candidates"][:, position], "profile": batch["profile"]}
    for name in ("history", "history_labels"):
        if name in batch:
            point[name] = batch[name][:, position : position + T]
    return point

"""What the tests of the baselines share: small models, and their layers in plain NumPy."""

import keras
import numpy as np
import tensorflow as tf

from tests.models import small

U = 5


def build(kind: type, seed: int = 0, **choices):
    """A model of small data whose weights are all away from zero."""
    keras.utils.set_random_seed(seed)
    model = kind.for_data(small.catalogue(), small.users(U), **choices)
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + random.normal(scale=0.3, size=variable.shape))
    return model


def packed(seed: int = 0, labels: bool = False) -> dict:
    """`small.packed` with users, rows 0 to 2."""
    return small.packed(seed, labels=labels) | {"users": tf.constant([4, 2, 0])}


def at(batch: dict, position: int) -> dict:
    return small.at(batch, position) | {"users": batch["users"]}


def user_rows(layer, user: int, profile: np.ndarray) -> list[np.ndarray]:
    """The fields of a user, one by one."""
    values = (
        [layer.values.numpy()[o + v] for o, v in zip(layer.offsets, profile, strict=True)] if layer.fields > 1 else []
    )
    return [layer.ids.numpy()[user], *values]


def item_rows(layer, item: int) -> list[np.ndarray]:
    """The fields of an item, one by one."""
    row = layer.ids.numpy()[item] * (0 < item <= layer.items)
    if layer.fields == 1:
        return [row]
    categories = [c for c in layer.of_item.numpy()[item] if c]
    names = layer.names.numpy()
    return [row, np.mean([names[c] for c in categories], axis=0) if categories else np.zeros(layer.width)]


def dense(layer, x: np.ndarray) -> np.ndarray:
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0.0)


def tower(layer, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The tower with its first matrix in one piece, on [user ; item]."""
    kernel = np.concatenate([layer.of_user.kernel.numpy(), layer.of_item.kernel.numpy()])
    x = np.maximum(np.concatenate([user, item]) @ kernel + layer.of_item.bias.numpy(), 0)
    for above in layer.above:
        x = np.maximum(dense(above, x), 0)
    return x


def each(batch: dict):
    """(row, position, candidate), user, profile and item of every logit of a packed batch."""
    candidates = batch["candidates"].numpy()
    for place in np.ndindex(*candidates.shape):
        yield place, int(batch["users"][place[0]]), batch["profile"][place[0]].numpy(), int(candidates[place])

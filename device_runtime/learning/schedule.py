"""Which rows a device holds out and in which order it trains on the rest.

Both are pure functions of counts and a seed, defined bit by bit in docs/protocol.md, so that a simulated fleet or
a device in another language trains exactly as this one does.
"""

from decimal import Decimal

import numpy as np

from device_runtime.errors import InputError

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def heldout_rows(interaction_ids: np.ndarray, fraction: float) -> np.ndarray:
    """Marks the rows of the newest interactions, whole ones: a click never parts from what was skipped beside it.

    Args:
      interaction_ids: [N] which interaction each row belongs to, oldest first.
      fraction: share of the interactions in [0, 1). It travels as a float32, so its shortest decimal counts:
        0.7 of 10 is 7, though the float32 is a little less than 0.7.

    Returns:
      [N] bool, True for rows of the newest floor(fraction * interactions) interactions.

    Raises:
      InputError: the fraction is outside [0, 1), or the ids are not in order.
    """
    share = np.float32(fraction)
    if not 0.0 <= share < 1.0:
        raise InputError(f"heldout_fraction: expected a share in [0, 1), got {fraction}")
    ids = np.asarray(interaction_ids)
    if (ids[1:] < ids[:-1]).any():
        raise InputError("interaction_ids: expected the oldest first, got ids that go down")
    distinct = np.unique(ids)
    count = int(Decimal(str(share)) * len(distinct))
    return ids > distinct[-count - 1] if count else np.zeros(len(ids), bool)


def training_schedule(samples: int, batch: int, epochs: int, seed: int = 0) -> np.ndarray:
    """The order in which training rows are visited.

    In epoch e the rows are sorted by mix64(mix64(seed + 2^32 * e) + row), see `mix64`, and cut into batches.

    Args:
      samples: N, training rows.
      batch: B.
      epochs: E.
      seed: at least 0.

    Returns:
      [E, steps, B] int32 row numbers with steps = ceil(N / B); -1 pads the last batch of an epoch.
    """
    for name, value, least in (("samples", samples, 0), ("batch", batch, 1), ("epochs", epochs, 0), ("seed", seed, 0)):
        if value != int(value) or value < least:
            raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    schedule = np.empty((epochs, -(-samples // batch), batch), np.int32)
    for epoch in range(epochs):
        schedule[epoch] = epoch_schedule(samples, batch, epoch, seed)
    return schedule


def epoch_schedule(samples: int, batch: int, epoch: int, seed: int = 0) -> np.ndarray:
    """The order of one epoch, [steps, B]; see `training_schedule`."""
    order = np.full(-(-samples // batch) * batch, -1, np.int32)
    start = mix64(np.uint64((seed + (epoch << 32)) & _MASK))
    with np.errstate(over="ignore"):
        keys = mix64(np.arange(samples, dtype=np.uint64) + start)
    order[:samples] = np.argsort(keys, kind="stable")
    return order.reshape(-1, batch)


def mix64(x: np.ndarray) -> np.ndarray:
    """A hash of unsigned 64-bit numbers of any shape: one step of SplitMix64 (Steele et al., 2014).

    Chosen over a NumPy generator because its values are the same in every version and language.
    """
    with np.errstate(over="ignore"):
        x = np.asarray(x, np.uint64) + _GAMMA
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

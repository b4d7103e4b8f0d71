"""What every metric asks of its arguments, said in one way."""

import numpy as np


class NotANumberError(ValueError):
    """NaN where a number was expected."""


def numbers(name: str, values: np.ndarray) -> np.ndarray:
    """`values` as an array of numbers, none NaN; a NaN would be sorted or binned somewhere without a word."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected numbers, got an array of {values.dtype}")
    bad = np.isnan(values)
    if bad.any():
        place = ", ".join(str(index) for index in np.unravel_index(bad.argmax(), bad.shape))
        raise NotANumberError(f"{name}: expected numbers, got NaN at [{place}]")
    return values


def binary(labels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`labels` as an array of True and False with the shape of `like`."""
    labels = np.asarray(labels)
    same_shape("labels", labels, like)
    bad = (labels != 0) & (labels != 1)
    if bad.any():
        raise ValueError(f"labels: expected 0 or 1, got {labels[bad][0]}")
    return labels == 1


def same_shape(name: str, values: np.ndarray, like: np.ndarray) -> None:
    """Refuses what NumPy would broadcast: [N] against [N, 1] is a slip, not a table of N x N."""
    if values.shape != like.shape:
        raise ValueError(f"{name}: expected shape {like.shape} like the values it goes with, got {values.shape}")


def cut_off(k: int) -> int:
    """`k` as an int of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k: expected a whole number of at least 1, got {k!r}")
    return int(k)

"""Random numbers as a pure function of what they are for, so that no draw depends on the order of drawing.

A sample's negatives are the same whichever users share its batch: a fleet that simulates devices in chunks and
one device alone then learn from the same samples. The mixing function is SplitMix64's (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def random_bits(*counters: np.ndarray | int) -> np.ndarray:
    """64 random bits for each combination of counters.

    Args:
      *counters: whole numbers or arrays of them that broadcast together; each counter matters, and so does their
        order.

    Returns:
      uint64 of the broadcast shape.
    """
    state = np.uint64(0)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        for counter in counters:
            state = _mix((state ^ np.asarray(counter).astype(np.uint64)) + _GAMMA)
    return state


def random_below(bound: np.ndarray, *counters: np.ndarray | int) -> np.ndarray:
    """Uniform whole numbers in [0, bound), int64; `bound` is positive, below 2^31, and broadcasts with the counters.

    The 32 highest bits are scaled, so that a value's probability is off by less than 2^-32.
    """
    high = random_bits(*counters) >> np.uint64(32)
    return ((high * np.asarray(bound).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))

"""Noise on what leaves the device: the Gaussian mechanism, each upload by itself (local differential privacy).

The vector's Euclidean norm is cut to `clip_norm`, then each float gets Gaussian noise of standard deviation
`noise_multiplier * clip_norm`, which is what `upload_noise` stands for in the simulated fleet. Two vectors of that norm
differ by up to `2 * clip_norm`, so an upload is as private as a Gaussian mechanism of noise multiplier
`noise_multiplier / 2`, and what a device sends over time composes. With noise, an upload says neither how many samples
it was trained on nor what the held-out ones said, since those would tell of the samples without noise.

The noise is drawn by the operating system's generator. It is of float64, not of a discrete Gaussian: an attacker who
counts on the last bits (Mironov, 2012) is not defended against.
"""

import math
import random
from dataclasses import dataclass
from numbers import Real

import numpy as np

from device_runtime.errors import InputError, UploadError

MOST_LOSS = 1000.0  # beyond it the accountant takes minutes and gigabytes, to say that there is no privacy


@dataclass(frozen=True)
class UploadNoise:
    """How much noise."""

    clip_norm: float
    noise_multiplier: float

    def __post_init__(self) -> None:
        for name in ("clip_norm", "noise_multiplier"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 < value < math.inf:
                raise InputError(f"noise.{name}: expected a finite number above 0, got {value!r}")

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise on each float."""
        return self.noise_multiplier * self.clip_norm

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """The vector [K] float32, cut and with fresh noise."""
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        cut = vector * min(1.0, self.clip_norm / norm) if norm else vector
        drawn = random.SystemRandom()
        return (cut + [drawn.gauss(0.0, self.deviation) for _ in vector]).astype(np.float32)

    def epsilon(self, uploads: int, delta: float) -> float:
        """The epsilon of (epsilon, delta)-differential privacy of one device's samples after so many uploads.

        By the accountant of `dp-accounting`, which brings SciPy: ask where settings are chosen, not on a phone.

        Raises:
          InputError: fewer than 1 upload, a delta outside (0, 1), or too little or too much noise to account for.
          UploadError: the package is not installed.
        """
        if isinstance(uploads, bool) or uploads != int(uploads) or uploads < 1:
            raise InputError(f"uploads: expected a whole number of at least 1, got {uploads!r}")
        if not 0.0 < delta < 1.0:
            raise InputError(f"delta: expected a number between 0 and 1, got {delta!r}")
        loss = 2.0 * uploads / self.noise_multiplier / self.noise_multiplier  # its mean: about epsilon, if it is large
        if loss > MOST_LOSS:
            raise InputError(
                f"noise: expected enough of it for an epsilon below {MOST_LOSS:g}, got a noise_multiplier of "
                f"{self.noise_multiplier:g} and {uploads} uploads; so little noise guarantees nothing"
            )
        try:
            import dp_accounting
            from dp_accounting import pld
        except ImportError as error:
            raise UploadError("epsilon: expected the package dp-accounting; pip install 'dccl[privacy]'") from error
        mechanism = dp_accounting.GaussianDpEvent(self.noise_multiplier / 2.0)
        accountant = pld.PLDAccountant()
        try:
            with np.errstate(all="ignore"):
                accountant.compose(mechanism, int(uploads))
                return float(accountant.get_epsilon(delta))
        except (ValueError, OverflowError, MemoryError) as error:
            raise InputError(
                f"noise: expected as much as the accountant can count, got a noise_multiplier of "
                f"{self.noise_multiplier:g} and {uploads} uploads ({error})"
            ) from error

"""The auxiliary encoder U(theta, u) = W1 tanh(W2 theta + W3 u) of Eq. 6.

It gives a device its start: U(0, u) when it is new, U(theta_old, u) when a new basis has come. u is the user's
profile, one-hot over all fields together, so that W3 u is a sum of rows of one table.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="dccl")
class AuxEncoder(keras.layers.Layer):
    """U of Eq. 6. W1 and W2 start at the identity, so that an untrained U hands a vector on almost as it is."""

    def __init__(self, length: int, profile_sizes: Sequence[int], scale: float = 0.3, **kwargs: Any) -> None:
        """Args:
        length: K.
        profile_sizes: number of values of each of the P profile fields, "unknown" included.
        scale: standard deviation of W3 u at the start.
        """
        super().__init__(**kwargs)
        self.length, self.profile_sizes, self.scale = length, tuple(profile_sizes), scale
        self.offsets = np.concatenate([[0], np.cumsum(self.profile_sizes)[:-1]]).astype(np.int32)
        spread = keras.initializers.RandomNormal(stddev=scale / len(self.profile_sizes) ** 0.5)
        identity = keras.initializers.Identity()
        self.w1 = self.add_weight(name="w1", shape=(length, length), initializer=identity)
        self.w2 = self.add_weight(name="w2", shape=(length, length), initializer=identity)
        self.w3 = self.add_weight(name="w3", shape=(sum(self.profile_sizes), length), initializer=spread)
        self.built = True

    def call(self, theta: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """theta [B, K] and profile [B, P] to the vectors [B, K]."""
        rows = tf.gather(tf.convert_to_tensor(self.w3), profile + self.offsets)  # [B, P, K]
        hidden = tf.tanh(tf.matmul(theta, tf.convert_to_tensor(self.w2)) + tf.reduce_sum(rows, axis=1))
        return tf.matmul(hidden, tf.convert_to_tensor(self.w1))

    def start(self, profile: tf.Tensor) -> tf.Tensor:
        """U(0, u) [B, K]: where a device without a vector begins."""
        return self(tf.zeros([tf.shape(profile)[0], self.length]), profile)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "length": self.length,
            "profile_sizes": self.profile_sizes,
            "scale": self.scale,
        }

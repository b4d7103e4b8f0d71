"""DIN's activation unit: the weight of a history item for a candidate, by a small network on the pair.

Zhou et al. (2018), Section 4.3, in the form that DeepCTR 0.9 publishes: the network sees
[candidate, item, candidate - item, candidate * item]; its scores are used as they are, without a softmax, so that
the strength of an interest is kept. (DeepCTR's default activation is Dice in newer and sigmoid in older releases;
sigmoid here.)
"""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="dccl")
class ActivationUnit(keras.layers.Layer):
    """A weight for each pair of candidate and history item."""

    def __init__(self, width: int, hidden: tuple[int, ...] = (80, 40), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.hidden = width, tuple(hidden)
        self.network = [keras.layers.Dense(units, activation="sigmoid") for units in self.hidden]
        self.network.append(keras.layers.Dense(1))
        inputs = 4 * width
        for layer in self.network:
            layer.build((None, inputs))
            inputs = layer.units
        self.built = True

    def call(self, history: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """history [B, L, D] and candidates [B, S, C, D] to weights [B, S, C, L], not yet masked."""
        shape = [tf.shape(history)[0], *candidates.shape[1:3], history.shape[1], self.width]
        items = tf.broadcast_to(history[:, None, None, :, :], shape)
        queries = tf.broadcast_to(candidates[:, :, :, None, :], shape)
        x = tf.concat([queries, items, queries - items, queries * items], axis=-1)
        for layer in self.network:
            x = layer(x)
        return x[..., 0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"width": self.width, "hidden": self.hidden}

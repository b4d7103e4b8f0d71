"""Target attention: the interest of a user in each candidate, from the history before each position.

One form serves training and serving. A packed row holds S target positions of one user: position s sees the T
items `history[s : s + T]` of L = T + S - 1 and nothing later. Serving is the case S = 1. All scores are matrix
products over the whole row; a band mask keeps each position to its own window.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dccl_tf.models.activation_unit import ActivationUnit

NEVER = -1e9


def check_length(length: int, history_length: int, positions: int) -> None:
    """Raises ValueError unless a packed row has the L = T + S - 1 items that its S positions look back on."""
    if length != history_length + positions - 1:
        raise ValueError(
            f"history: expected {history_length + positions - 1} items "
            f"(history length {history_length} + {positions} positions - 1), got {length}"
        )


def band(positions: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Which history item each position sees, and from how far back.

    Args:
      positions: S.
      length: L = T + S - 1.

    Returns:
      visible: bool [S, L], true for s <= j < s + T.
      distance: int32 [S, L], 0 for the newest item that position s sees, T - 1 for the oldest; 0 where not visible.
    """
    window = length - positions + 1
    offset = np.arange(length)[None, :] - np.arange(positions)[:, None]
    visible = (offset >= 0) & (offset < window)
    return visible, np.where(visible, window - 1 - offset, 0).astype(np.int32)


@keras.saving.register_keras_serializable(package="dccl")
class TargetAttention(keras.layers.Layer):
    """Attention with the candidate as query and the history as keys and values.

    Scores are scaled dot products plus a learned recency term (one value a head and distance). The weights are a
    softmax with one more, empty slot of score 0: a history that does not concern the candidate, or that is empty,
    yields an interest near, or exactly, zero. Where history items carry labels, the label has its own part in
    keys and values, so liked and disliked items weigh differently.

    `kind="activation_unit"` scores by DIN's small network instead (Zhou et al., 2018; no softmax): exact but slow.
    """

    def __init__(
        self,
        history_length: int,
        width: int,
        heads: int = 2,
        kind: str = "dot",
        labels: bool = False,
        **kwargs: Any,
    ) -> None:
        """Args:
        history_length: T.
        width: D of the item vectors; the interest has the same width.
        heads: attention heads; must divide D.
        kind: "dot" or "activation_unit".
        labels: whether history items carry a label.
        """
        super().__init__(**kwargs)
        if kind not in ("dot", "activation_unit"):
            raise ValueError(f"kind: expected 'dot' or 'activation_unit', got {kind!r}")
        if width % heads:
            raise ValueError(f"heads: expected a divisor of the item width {width}, got {heads}")
        self.history_length, self.width, self.heads, self.kind, self.labels = (
            history_length,
            width,
            heads,
            kind,
            labels,
        )
        if labels:
            small = keras.initializers.RandomNormal(stddev=0.1)
            self.label_values = self.add_weight(name="label_values", shape=(2, width), initializer=small)
        if kind == "activation_unit":
            self.unit = ActivationUnit(width)
        else:
            self.query = keras.layers.Dense(width, use_bias=False, name="query")
            self.key = keras.layers.Dense(width, use_bias=False, name="key")
            self.value = keras.layers.Dense(width, use_bias=False, name="value")
            self.recency = self.add_weight(name="recency", shape=(history_length, heads), initializer="zeros")
            for layer in (self.query, self.key, self.value):
                layer.build((None, width))
        self.built = True

    def call(
        self,
        history: tf.Tensor,
        candidates: tf.Tensor,
        real: tf.Tensor,
        history_labels: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Interest of each candidate.

        Args:
          history: [B, L, D] item vectors, oldest first.
          candidates: [B, S, C, D] item vectors.
          real: bool [B, L], true where `history` holds an item and not padding.
          history_labels: int32 [B, L] in {0, 1}, if the layer was made with labels.

        Returns:
          [B, S, C, D]; zero where a position sees no item.
        """
        positions, length = candidates.shape[1], history.shape[1]
        check_length(length, self.history_length, positions)
        if self.labels:
            history = history + tf.gather(tf.convert_to_tensor(self.label_values), history_labels)
        visible, distance = band(positions, length)
        if self.kind == "activation_unit":
            seen = tf.cast(tf.logical_and(visible[None], real[:, None, :]), tf.float32)  # [B, S, L]
            weights = self.unit(history, candidates) * seen[:, :, None, :]  # [B, S, C, L]
            return tf.einsum("bscl,bld->bscd", weights, history)
        return self._dot(history, candidates, real, visible, distance)

    def _dot(
        self,
        history: tf.Tensor,
        candidates: tf.Tensor,
        real: tf.Tensor,
        visible: np.ndarray,
        distance: np.ndarray,
    ) -> tf.Tensor:
        positions, per_position = candidates.shape[1], candidates.shape[2]
        length, part = history.shape[1], self.width // self.heads
        queries = self._split(self.query(candidates), positions * per_position)  # [B, H, S * C, D / H]
        keys = self._split(self.key(history), length) * part**-0.5  # [B, H, L, D / H]
        values = self._split(self.value(history), length)
        scores = tf.matmul(queries, _with_empty_slot(keys), transpose_b=True)  # [B, H, S * C, L + 1]
        scores = tf.reshape(scores, [-1, self.heads, positions, per_position, length + 1])
        weights = _softmax(scores, self._recency(distance), _mask(visible, real))
        weights = tf.reshape(weights, [-1, self.heads, positions * per_position, length + 1])
        mixed = tf.matmul(weights, _with_empty_slot(values))  # [B, H, S * C, D / H]
        return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, positions, per_position, self.width])

    def _recency(self, distance: np.ndarray) -> tf.Tensor:
        """[H, S, L + 1]: the learned term of each position and item, 0 for the empty slot."""
        terms = tf.transpose(tf.gather(tf.convert_to_tensor(self.recency), distance), [2, 0, 1])
        return tf.pad(terms, [[0, 0], [0, 0], [1, 0]])

    def _split(self, x: tf.Tensor, rows: int) -> tf.Tensor:
        """[B, ..., D] with `rows` vectors each to [B, H, rows, D / H]."""
        return tf.transpose(tf.reshape(x, [-1, rows, self.heads, self.width // self.heads]), [0, 2, 1, 3])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "history_length": self.history_length,
            "width": self.width,
            "heads": self.heads,
            "kind": self.kind,
            "labels": self.labels,
        }


def _with_empty_slot(x: tf.Tensor) -> tf.Tensor:
    """[B, H, L, E] to [B, H, 1 + L, E] with a zero vector in front: as a key it scores 0, as a value it adds 0."""
    return tf.pad(x, [[0, 0], [0, 0], [1, 0], [0, 0]])


def _mask(visible: np.ndarray, real: tf.Tensor) -> tf.Tensor:
    """[B, 1, S, 1, 1 + L]: 0 where a position sees an item or the empty slot, else at most `NEVER`."""
    blocked = np.where(np.pad(visible, [(0, 0), (1, 0)], constant_values=True), 0.0, NEVER).astype(np.float32)
    padding = tf.pad((1.0 - tf.cast(real, tf.float32)) * NEVER, [[0, 0], [1, 0]])
    return blocked[None, None, :, None, :] + padding[:, None, None, None, :]


@tf.custom_gradient
def _softmax(scores: tf.Tensor, recency: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Softmax over the last axis of scores + recency + mask, with a gradient that sums over one axis at a time:
    TensorFlow's own gradient of the broadcast took a third of the layer's time.

    Args:
      scores: [B, H, S, C, 1 + L].
      recency: [H, S, 1 + L].
      mask: [B, 1, S, 1, 1 + L]; no gradient flows to it.
    """
    weights = tf.nn.softmax(scores + (recency[None, :, :, None, :] + mask))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
        product = upstream * weights
        to_scores = product - weights * tf.reduce_sum(product, axis=-1, keepdims=True)
        return to_scores, tf.reduce_sum(tf.reduce_sum(to_scores, axis=0), axis=2), None

    return weights, gradient

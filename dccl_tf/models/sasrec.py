"""SASRec, self-attentive sequential recommendation (Kang and McAuley, 2018), in one causal pass over a packed row.

What a position sees. The authors number the places of a window of T items and learn a vector for each number. Then a
place's number, and how much lies before it, differ between the positions of one training row and the window that is
served. Here attention knows *distances* (a learned term a head and distance, in each block), and block k sees a band
of w_k items with sum of (w_k - 1) = T - 1: all blocks but the last the `local` newest, the last one the rest. A state
then depends on its own T items alone, wherever in a row they stand: each position of a packed row has exactly the
logits that serving its window gives, at the cost of one pass, O(L^2) for a row and not S times O(T^2).

A state is compared with a candidate by dot product plus the item's bias. With labels (protocol `liked`) each history
item carries its label as an added vector, and the candidate is asked about as it is.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.models.attention import NEVER, check_length
from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.features import SMALL
from dccl_tf.models.fields import ItemFields
from dccl_tf.models.recommender import DataSizes, Inputs, Recommender


@keras.saving.register_keras_serializable(package="dccl")
class SasRec(Recommender):
    """Reads "history", "candidates" and, if made with labels, "history_labels"; neither users nor profiles."""

    def __init__(
        self,
        sizes: DataSizes,
        history_length: int = 50,
        history_labels: bool = False,
        width: int = 64,
        blocks: int = 2,
        heads: int = 2,
        local: int = 12,
        inner: int = 64,
        dropout: float = 0.2,
        norm_first: bool = True,
        activation: str = "relu",
        item_categories: bool = False,
        **kwargs: Any,
    ) -> None:
        """Args:
        sizes: of the data.
        history_length: T.
        history_labels: whether history items carry a label.
        width: D.
        blocks: of attention and a feed-forward layer.
        heads: of attention; must divide D.
        local: w of all blocks but the last; less where T leaves less.
        inner: width between the two feed-forward layers.
        dropout: share left out after the embedding, attention's weights, and each part of a block, while it trains.
        norm_first: layer norm before each part of a block (as the authors' code, with one at the end), or after it.
        activation: between the feed-forward layers, a name that Keras knows.
        item_categories: whether an item is its id alone, as the authors have it, or also the mean of its categories.
        """
        at_least_one(history_length=history_length, width=width, blocks=blocks, heads=heads, local=local, inner=inner)
        a_share(dropout=dropout)
        if width % heads:
            raise ValueError(f"heads: expected a divisor of width {width}, got {heads}")
        choices = {
            "history_length": history_length,
            "history_labels": history_labels,
            "width": width,
            "blocks": blocks,
            "heads": heads,
            "local": local,
            "inner": inner,
            "dropout": dropout,
            "norm_first": norm_first,
            "activation": activation,
            "item_categories": item_categories,
        }
        super().__init__(sizes, choices, **kwargs)
        self.history_length, self.width, self.norm_first = history_length, width, norm_first
        categories = sizes.categories if item_categories else 0
        # Rows of norm 1: a dot product with a normalised state, of norm sqrt(D), then has a deviation of 1. With labels
        # nothing is drawn, most items have few samples, and a start that is noise is hardly unlearned (MovieLens-1M,
        # `liked`: validation log loss 0.5473 at norm 1 and 0.5402 at 0.1).
        stddev = SMALL if history_labels else width**-0.5
        self.item_fields = ItemFields(sizes.items, width, categories, sizes.categories_per_item, stddev)
        self.item_bias = ItemFields(sizes.items, 1)
        if history_labels:
            small = keras.initializers.RandomNormal(stddev=width**-0.5)
            self.label_values = self.add_weight(name="label_values", shape=(2, width), initializer=small)
        self.blocks = [
            Block(width, heads, window, inner, dropout, norm_first, activation, name=f"block_{number}")
            for number, window in enumerate(windows(history_length, blocks, local))
        ]
        self.norm = _layer_norm(width, name="norm")  # of the last states, or of the embedding where norms come after
        self.dropout = ByteDropout(dropout)
        self.history_labels = history_labels

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        states = self.states(inputs["history"], candidates.shape[1], inputs.get("history_labels"), training)
        items = tf.reduce_sum(self.item_fields(candidates), axis=-2)  # [B, S, C, D]
        return tf.linalg.matvec(items, states) + self.item_bias(candidates)[..., 0, 0]

    def states(
        self, history: tf.Tensor, positions: int, history_labels: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """What the last S places of a row know: [B, S, D].

        Args:
          history: int32 [B, L], L = T + S - 1. A place of padding sees itself alone and is worth nothing to others:
            the state of an empty history is one learned vector.
          positions: S.
          history_labels: int32 [B, L] or None.
          training: whether dropout is on.
        """
        check_length(history.shape[1], self.history_length, positions)
        if self.history_labels and history_labels is None:
            raise ValueError("inputs: expected 'history_labels', which this model was made with, got none")
        real = history > 0
        x = tf.reduce_sum(self.item_fields(history), axis=-2) * self.width**0.5  # [B, L, D]
        if self.history_labels:
            labelled = tf.gather(tf.convert_to_tensor(self.label_values), history_labels)
            x += labelled * tf.cast(real, tf.float32)[..., None] * self.width**0.5
        x = self.dropout(x if self.norm_first else self.norm(x), training=training)
        needed = positions + sum(block.window - 1 for block in self.blocks)
        for block in self.blocks:
            needed -= block.window - 1  # places that the blocks above still look at
            x = block(x, real[:, -x.shape[1] :], needed=needed, training=training)
        return self.norm(x) if self.norm_first else x


@keras.saving.register_keras_serializable(package="dccl")
class Block(keras.layers.Layer):
    """Causal self-attention in a band, and two fully connected layers; each adds to what came in."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        inner: int,
        dropout: float,
        norm_first: bool = True,
        activation: str = "relu",
        **kwargs: Any,
    ) -> None:
        """Arguments as of `SasRec`; window is w, the newest items that a place sees, its own included."""
        super().__init__(**kwargs)
        self.width, self.heads, self.window, self.inner = width, heads, window, inner
        self.share, self.norm_first, self.activation = dropout, norm_first, activation
        self.query = keras.layers.Dense(width, name="query")
        self.key_value = keras.layers.Dense(2 * width, name="key_value")
        self.mix = keras.layers.Dense(width, name="mix")
        self.widen = keras.layers.Dense(inner, activation, name="widen")
        self.narrow = keras.layers.Dense(width, name="narrow")
        self.attention_norm = _layer_norm(width, name="attention_norm")
        self.feed_norm = _layer_norm(width, name="feed_norm")
        self.recency = self.add_weight(name="recency", shape=(window, heads), initializer="zeros")
        self.dropout = ByteDropout(dropout)
        for layer in (self.query, self.key_value, self.mix, self.widen):
            layer.build((None, width))
        self.narrow.build((None, inner))
        self.built = True

    def call(self, x: tf.Tensor, real: tf.Tensor, needed: int, training: bool = False) -> tf.Tensor:
        """x [B, L, D] and real bool [B, L] to the last `needed` places, [B, needed, D]."""
        newest = x[:, -needed:]
        if self.norm_first:
            known = self.attention_norm(x)
            newest += self._attend(known[:, -needed:], known, real, training)
            return newest + self._feed(self.feed_norm(newest), training)
        newest = self.attention_norm(newest + self._attend(newest, x, real, training))
        return self.feed_norm(newest + self._feed(newest, training))

    def _attend(self, asking: tf.Tensor, known: tf.Tensor, real: tf.Tensor, training: bool) -> tf.Tensor:
        """asking [B, Q, D], known [B, L, D], real bool [B, L] to [B, Q, D]."""
        visible, distance = _band(asking.shape[1], known.shape[1], self.window)
        keys, values = tf.split(self.key_value(known), 2, axis=-1)
        scale = (self.width // self.heads) ** -0.5
        scores = tf.matmul(self._split(self.query(asking) * scale), self._split(keys), transpose_b=True)  # [B, H, Q, L]
        recency = tf.transpose(tf.gather(tf.convert_to_tensor(self.recency), distance), [2, 0, 1])  # [H, Q, L]
        # A place always sees itself, so that one of padding, which nobody else sees, has a state too.
        seen = tf.logical_or(tf.logical_and(visible, real[:, None, :]), visible & (distance == 0))
        scores += recency + tf.where(seen, 0.0, NEVER)[:, None]
        weights = self.dropout(tf.nn.softmax(scores), training=training)
        mixed = tf.transpose(tf.matmul(weights, self._split(values)), [0, 2, 1, 3])  # [B, Q, H, D / H]
        mixed = tf.reshape(mixed, [-1, asking.shape[1], self.width])
        return self.dropout(self.mix(mixed), training=training)

    def _feed(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        inner = self.dropout(self.widen(x), training=training)
        return self.dropout(self.narrow(inner), training=training)

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        """[B, L, D] to [B, H, L, D / H]."""
        parts = tf.reshape(x, [-1, x.shape[1], self.heads, self.width // self.heads])
        return tf.transpose(parts, [0, 2, 1, 3])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "heads": self.heads,
            "window": self.window,
            "inner": self.inner,
            "dropout": self.share,
            "norm_first": self.norm_first,
            "activation": self.activation,
        }


def windows(history_length: int, blocks: int, local: int) -> list[int]:
    """w of each block: together they reach back over exactly T items."""
    lower = min(local, 1 + (history_length - 1) // blocks)
    return [lower] * (blocks - 1) + [history_length - (blocks - 1) * (lower - 1)]


def _band(asking: int, length: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """For the last Q of L places: which they see (bool [Q, L]) and from how far back (int32 [Q, L], 0 where not)."""
    distance = np.arange(length - asking, length)[:, None] - np.arange(length)[None, :]
    visible = (distance >= 0) & (distance < window)
    return visible, np.where(visible, distance, 0).astype(np.int32)


def _layer_norm(width: int, name: str) -> keras.layers.LayerNormalization:
    layer = keras.layers.LayerNormalization(epsilon=1e-6, name=name)
    layer.build((None, width))
    return layer

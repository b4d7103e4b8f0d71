"""Users and items as fields of features, each field one row of a table: what MF, FM, NeuMF and DeepFM are made of.

What nothing was learned about is the zero vector, hence the prior and not noise: users without samples (their rows
start at zero, and only their own samples move them), the unknown user U, padding, and items outside the vocabulary.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dccl_tf.models.features import SMALL, ItemTables


@keras.saving.register_keras_serializable(package="dccl")
class UserFields(keras.layers.Layer):
    """A user as 1 + P rows: the id's, then one for each profile field."""

    def __init__(self, users: int, width: int, profile_sizes: tuple[int, ...] = (), **kwargs: Any) -> None:
        """Args:
        users: U.
        width: of a row.
        profile_sizes: number of values of each profile field; none leaves the profile out.
        """
        super().__init__(**kwargs)
        self.users, self.width, self.profile_sizes = users, width, tuple(profile_sizes)
        self.ids = self.add_weight(name="ids", shape=(users + 1, width), initializer="zeros")
        if self.profile_sizes:
            self.offsets = np.concatenate([[0], np.cumsum(self.profile_sizes)[:-1]]).astype(np.int32)
            small = keras.initializers.RandomNormal(stddev=SMALL)
            self.values = self.add_weight(name="values", shape=(sum(self.profile_sizes), width), initializer=small)
        self.built = True

    @property
    def fields(self) -> int:
        return 1 + len(self.profile_sizes)

    def call(self, users: tf.Tensor, profile: tf.Tensor | None = None) -> tf.Tensor:
        """users int32 [B] and profile int32 [B, P], which only its fields need, to rows [B, 1 + P, width]."""
        rows = tf.gather(tf.convert_to_tensor(self.ids), users)[:, None, :]
        if not self.profile_sizes:
            return rows
        return tf.concat([rows, tf.gather(tf.convert_to_tensor(self.values), profile + self.offsets)], axis=1)

    def get_config(self) -> dict[str, Any]:
        sizes = {"users": self.users, "width": self.width, "profile_sizes": self.profile_sizes}
        return super().get_config() | sizes


@keras.saving.register_keras_serializable(package="dccl")
class ItemFields(ItemTables):
    """An item as one or two rows: the id's and, where items have categories, the mean over its categories."""

    def __init__(
        self,
        items: int,
        width: int,
        categories: int = 0,
        categories_per_item: int = 1,
        stddev: float = SMALL,
        **kwargs: Any,
    ) -> None:
        """Args:
        items: V; the table has V + 2 rows (padding, V items, out of vocabulary).
        width: of a row.
        categories: G; 0 leaves categories out.
        categories_per_item: M.
        stddev: of new rows.
        """
        super().__init__(items, width, categories, categories_per_item, width, stddev, **kwargs)
        self.width, self.stddev = width, stddev

    @property
    def fields(self) -> int:
        return 2 if self.categories else 1

    def call(self, ids: tf.Tensor, reduce: Callable[[tf.Tensor], tf.Tensor] | None = None) -> tf.Tensor:
        """Rows of items.

        Args:
          ids: int32 [...].
          reduce: what to make of the rows [..., fields, width] of an item; done once an item where ids repeat.

        Returns:
          [..., fields, width], or what `reduce` makes of it.
        """
        repeating = self.repeats(ids)
        rows = self._rows(tf.range(self.items + 2) if repeating else ids)
        rows = reduce(rows) if reduce else rows
        return tf.gather(rows, ids) if repeating else rows

    def _rows(self, ids: tf.Tensor) -> tf.Tensor:
        known = tf.cast(tf.logical_and(ids > 0, ids <= self.items), tf.float32)[..., None]
        own = tf.gather(tf.convert_to_tensor(self.ids), ids) * known
        if not self.categories:
            return own[..., None, :]
        return tf.stack([own, self.mean_of_categories(ids)], axis=-2)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "items": self.items,
            "width": self.width,
            "categories": self.categories,
            "categories_per_item": self.categories_per_item,
            "stddev": self.stddev,
        }


def merged(rows: tf.Tensor) -> tf.Tensor:
    """The fields of one side, user or item, as one row, such that FM of all fields is MF of the two rows.

    FM's second order over the fields of both sides falls into pairs within the user, pairs within the item, and pairs
    of the two, whose sum is <sum of the user's vectors, sum of the item's>. Pairs within a side are a number of that
    side alone, as a bias is; by (sum of all)^2 - sum of squares (Rendle, 2010, Lemma 3.1) they cost no loop over pairs.

    Args:
      rows: [..., fields, D + 1], each a vector and, last, a weight.

    Returns:
      [..., D + 1]: the sum of vectors; the sum of weights and of all pairs' products.
    """
    total, vectors = tf.reduce_sum(rows, axis=-2), rows[..., :-1]
    pairs = tf.reduce_sum(tf.square(total[..., :-1]), axis=-1) - tf.reduce_sum(tf.square(vectors), axis=[-2, -1])
    return tf.concat([total[..., :-1], (total[..., -1] + 0.5 * pairs)[..., None]], axis=-1)


def biased_product(user: tf.Tensor, items: tf.Tensor, dropout: keras.layers.Dropout, training: bool) -> tf.Tensor:
    """<user, item> and both biases, of rows that hold a vector and, last, a bias.

    Args:
      user: [B, D + 1].
      items: [B, S, C, D + 1].
      dropout: of the D products, while it trains.
      training: whether it does.

    Returns:
      [B, S, C].
    """
    user = user[:, None, None, :]
    products = dropout(user[..., :-1] * items[..., :-1], training=training)
    return user[..., -1] + items[..., -1] + tf.reduce_sum(products, axis=-1)

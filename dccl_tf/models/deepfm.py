"""DeepFM (Guo et al., 2017): a factorization machine and a deep tower on the same vectors, added up."""

from typing import Any

import keras
import tensorflow as tf

from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.fields import ItemFields, UserFields, pairwise
from dccl_tf.models.recommender import DataSizes, Inputs, Recommender, a_share, at_least_one
from dccl_tf.models.tower import Tower


@keras.saving.register_keras_serializable(package="dccl")
class DeepFm(Recommender):
    """logit = FM + tower; fields as in `fm`: user id, profile, item id, item categories."""

    def __init__(
        self,
        sizes: DataSizes,
        width: int = 32,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        """Args:
        sizes: of the data.
        width: D of the vectors.
        hidden: widths of the tower's layers.
        dropout: share left out in the tower, and of the D sums of products, while it trains.
        """
        at_least_one(width=width)
        a_share(dropout=dropout)
        super().__init__(sizes, {"width": width, "hidden": tuple(hidden), "dropout": dropout}, **kwargs)
        # One row holds a vector and a weight, so that one lookup brings both.
        self.user_fields = UserFields(sizes.users, width + 1, sizes.profile_sizes)
        self.item_fields = ItemFields(sizes.items, width + 1, sizes.categories, sizes.categories_per_item)
        self.tower = Tower(self.user_fields.fields * width, self.item_fields.fields * width, hidden, dropout)
        self.logit = keras.layers.Dense(1, name="logit")
        self.logit.build((None, hidden[-1]))
        self.dropout = ByteDropout(dropout)

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        user = self.user_fields(inputs["users"], inputs["profile"])  # [B, 1 + P, D + 1]
        items = self.item_fields(candidates)  # [B, S, C, fields, D + 1]
        weights = tf.reduce_sum(user[..., -1], axis=-1)[:, None, None] + tf.reduce_sum(items[..., -1], axis=-1)
        vectors, item_vectors = user[..., :-1], items[..., :-1]
        products = self.dropout(pairwise([vectors[:, None, None], item_vectors]), training=training)
        deep = self.tower(_side_by_side(vectors), _side_by_side(item_vectors), training=training)
        return weights + tf.reduce_sum(products, axis=-1) + self.logit(deep)[..., 0]


def _side_by_side(rows: tf.Tensor) -> tf.Tensor:
    """[..., fields, D] to [..., fields * D]."""
    shape = tf.shape(rows)[:-2]
    return tf.reshape(rows, tf.concat([shape, [rows.shape[-2] * rows.shape[-1]]], axis=0))

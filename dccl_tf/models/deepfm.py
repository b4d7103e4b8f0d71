"""DeepFM (Guo et al., 2017): a factorization machine and a deep tower on the same vectors, added up."""

from typing import Any

import keras
import tensorflow as tf

from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.fields import ItemFields, UserFields, biased_product, merged
from dccl_tf.models.recommender import DataSizes, Inputs, Recommender
from dccl_tf.models.tower import Tower


@keras.saving.register_keras_serializable(package="dccl")
class DeepFm(Recommender):
    """logit = FM + tower; fields as in `fm`: user id, profile, item id, item categories."""

    def __init__(
        self,
        sizes: DataSizes,
        width: int = 64,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Args:
        sizes: of the data.
        width: D of the vectors.
        hidden: widths of the tower's layers.
        dropout: share left out in the tower, and of the D products of user and item, while it trains.
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
        self.width = width

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        user = _merged_and_deep(self.user_fields(inputs["users"], inputs["profile"]))
        items = self.item_fields(candidates, reduce=_merged_and_deep)
        row = self.width + 1
        shallow = biased_product(user[:, :row], items[..., :row], self.dropout, training)
        return shallow + self.logit(self.tower(user[:, row:], items[..., row:], training=training))[..., 0]


def _merged_and_deep(rows: tf.Tensor) -> tf.Tensor:
    """Rows [..., fields, D + 1] to FM's row and, side by side, the tower's vectors: [..., D + 1 + fields * D]."""
    fields, width = rows.shape[-2], rows.shape[-1] - 1
    vectors = tf.reshape(rows[..., :-1], tf.concat([tf.shape(rows)[:-2], [fields * width]], axis=0))
    return tf.concat([merged(rows), vectors], axis=-1)

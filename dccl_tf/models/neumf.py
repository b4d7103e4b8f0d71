"""NeuMF, neural matrix factorization (He et al., 2017): a generalised MF and a deep tower, fused by the last layer."""

from typing import Any

import keras
import tensorflow as tf

from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.fields import ItemFields, UserFields
from dccl_tf.models.recommender import DataSizes, Inputs, Recommender
from dccl_tf.models.tower import Tower


@keras.saving.register_keras_serializable(package="dccl")
class NeuMf(Recommender):
    """logit = <h, [user * item ; tower(user', item')]> + bias (their Eq. 12); the two parts share no vectors.

    Both parts learn together, from scratch (the authors' form without pretraining).
    """

    def __init__(
        self,
        sizes: DataSizes,
        width: int = 64,
        hidden: tuple[int, ...] = (64, 32, 16),
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Args:
        sizes: of the data.
        width: D of the vectors, in both parts.
        hidden: widths of the tower's layers.
        dropout: share left out in the tower, and of the D products, while it trains.
        """
        at_least_one(width=width)
        a_share(dropout=dropout)
        super().__init__(sizes, {"width": width, "hidden": tuple(hidden), "dropout": dropout}, **kwargs)
        # One row holds both parts' vectors, so that one lookup brings both.
        self.user_fields = UserFields(sizes.users, 2 * width)
        self.item_fields = ItemFields(sizes.items, 2 * width)
        self.tower = Tower(width, width, hidden, dropout)
        self.logit = keras.layers.Dense(1, name="logit")
        self.logit.build((None, width + hidden[-1]))
        self.dropout = ByteDropout(dropout)
        self.width = width

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        user = self.user_fields(inputs["users"], inputs.get("profile"))[:, 0]  # [B, 2D]
        items = self.item_fields(candidates)[..., 0, :]  # [B, S, C, 2D]
        products = user[:, None, None, : self.width] * items[..., : self.width]
        deep = self.tower(user[:, self.width :], items[..., self.width :], training=training)
        return self.logit(tf.concat([self.dropout(products, training=training), deep], axis=-1))[..., 0]

"""MF, matrix factorization (Koren, Bell and Volinsky, 2009): a user's vector times an item's, and their biases."""

from typing import Any

import keras
import tensorflow as tf

from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.fields import ItemFields, UserFields, biased_product
from dccl_tf.models.recommender import DataSizes, Inputs, Recommender


@keras.saving.register_keras_serializable(package="dccl")
class Mf(Recommender):
    """logit = bias + bias of user + bias of item + <user, item>. Reads "users" and "candidates" alone."""

    def __init__(self, sizes: DataSizes, width: int = 64, dropout: float = 0.0, **kwargs: Any) -> None:
        """Args:
        sizes: of the data.
        width: D of the vectors.
        dropout: share of the D products that is left out while it trains.
        """
        at_least_one(width=width)
        a_share(dropout=dropout)
        super().__init__(sizes, {"width": width, "dropout": dropout}, **kwargs)
        # One row holds a vector and a bias, so that one lookup brings both.
        self.user_fields = UserFields(sizes.users, width + 1)
        self.item_fields = ItemFields(sizes.items, width + 1)
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")
        self.dropout = ByteDropout(dropout)

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        user = self.user_fields(inputs["users"], inputs.get("profile"))[:, 0]  # [B, D + 1]
        items = self.item_fields(candidates)[..., 0, :]  # [B, S, C, D + 1]
        return self.bias + biased_product(user, items, self.dropout, training)

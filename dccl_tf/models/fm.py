"""FM, factorization machine of second order (Rendle, 2010), on user id, profile, item id and item categories."""

from typing import Any

import keras
import tensorflow as tf

from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.fields import ItemFields, UserFields, biased_product, merged
from dccl_tf.models.recommender import DataSizes, Inputs, Recommender


@keras.saving.register_keras_serializable(package="dccl")
class Fm(Recommender):
    """logit = bias + sum of the fields' weights + sum over all pairs of fields of <vector, vector>.

    An item of several categories is one field: the mean of its categories' rows.
    """

    def __init__(self, sizes: DataSizes, width: int = 64, dropout: float = 0.0, **kwargs: Any) -> None:
        """Args:
        sizes: of the data.
        width: D of the vectors.
        dropout: share of the D products of user and item that is left out while it trains.
        """
        at_least_one(width=width)
        a_share(dropout=dropout)
        super().__init__(sizes, {"width": width, "dropout": dropout}, **kwargs)
        # One row holds a vector and a weight, so that one lookup brings both.
        self.user_fields = UserFields(sizes.users, width + 1, sizes.profile_sizes)
        self.item_fields = ItemFields(sizes.items, width + 1, sizes.categories, sizes.categories_per_item)
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")
        self.dropout = ByteDropout(dropout)

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        user = merged(self.user_fields(inputs["users"], inputs["profile"]))  # [B, D + 1]
        items = self.item_fields(candidates, reduce=merged)  # [B, S, C, D + 1]
        return self.bias + biased_product(user, items, self.dropout, training)

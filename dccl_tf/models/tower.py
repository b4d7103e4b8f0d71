"""A deep network on a user and an item, in which whatever concerns the user alone is computed once a row."""

from typing import Any

import keras
import tensorflow as tf

from dccl_tf.models.dropout import ByteDropout


@keras.saving.register_keras_serializable(package="dccl")
class Tower(keras.layers.Layer):
    """Fully connected ReLU layers on [user ; item]; dropout before each, as in the authors' NeuMF and DeepFM.

    The first layer's matrix is kept in two parts, W [u ; i] = W_u u + W_i i, since many candidates share a user.
    """

    def __init__(
        self, user_width: int, item_width: int, hidden: tuple[int, ...], dropout: float, **kwargs: Any
    ) -> None:
        """Args:
        user_width, item_width: of the inputs.
        hidden: widths of the layers, at least one.
        dropout: share left out while it trains.
        """
        super().__init__(**kwargs)
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden: expected at least one layer of width 1 or more, got {tuple(hidden)}")
        self.user_width, self.item_width, self.hidden, self.share = user_width, item_width, tuple(hidden), dropout
        limit = (6.0 / (user_width + item_width + hidden[0])) ** 0.5  # Glorot's, for the whole of [W_u ; W_i]
        self.of_user = keras.layers.Dense(
            hidden[0],
            use_bias=False,
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            name="of_user",
        )
        self.of_item = keras.layers.Dense(
            hidden[0], kernel_initializer=keras.initializers.RandomUniform(-limit, limit), name="of_item"
        )
        self.above = [keras.layers.Dense(units, "relu", name=f"layer_{n}") for n, units in enumerate(hidden[1:], 1)]
        self.dropout = ByteDropout(dropout)
        self.of_user.build((None, user_width))
        self.of_item.build((None, item_width))
        for layer, inputs in zip(self.above, hidden, strict=False):
            layer.build((None, inputs))
        self.built = True

    def call(self, user: tf.Tensor, items: tf.Tensor, training: bool = False) -> tf.Tensor:
        """user [B, Du] and items [B, S, C, Di] to [B, S, C, hidden[-1]]."""
        of_user = self.of_user(self.dropout(user, training=training))[:, None, None, :]
        x = tf.nn.relu(of_user + self.of_item(self.dropout(items, training=training)))
        for layer in self.above:
            x = layer(self.dropout(x, training=training))
        return x

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "user_width": self.user_width,
            "item_width": self.item_width,
            "hidden": self.hidden,
            "dropout": self.share,
        }

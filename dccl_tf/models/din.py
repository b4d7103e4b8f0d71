"""DIN, the Deep Interest Network (Zhou et al., 2018), the cloud model f of the paper, with junctions for patches.

One contract for all models of this package:

    logits = model({"history": [B, T], "candidates": [B, C], "profile": [B, P]})            # [B, C]: serving
    logits = model({"history": [B, T + S - 1], "candidates": [B, S, C], "profile": [B, P]})  # [B, S, C]: packed

In the packed form one row trains S positions of a user at once; position s sees `history[:, s : s + T]`.
A model made with `history_labels=True` also takes "history_labels", int32 like history, 1 liked and 0 not.
"""

from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from dccl_tf import exportable
from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.data.schema import Catalogue, Users
from dccl_tf.metapatch import Patches, apply_patch
from dccl_tf.models.attention import TargetAttention
from dccl_tf.models.dropout import ByteDropout
from dccl_tf.models.features import ItemEmbedding, ProfileEmbedding


@dataclass(frozen=True)
class DinConfig:
    """Sizes and choices of a DIN. `for_data` fills in what the data decide."""

    items: int  # V
    profile_sizes: tuple[int, ...]  # values of each profile field, "unknown" included
    categories: int = 0  # G; 0: the items have none
    categories_per_item: int = 1
    history_length: int = 50  # T
    history_labels: bool = False
    item_width: int = 32
    category_width: int = 16
    profile_width: int = 8
    heads: int = 2
    attention: str = "dot"  # or "activation_unit"
    hidden: tuple[int, ...] = (64, 32, 32)
    activation: Any = "relu"  # a name of `exportable.ACTIVATIONS`, or a function that Keras can save
    dropout: float = 0.2

    def __post_init__(self) -> None:
        at_least_one(items=self.items, history_length=self.history_length)
        at_least_one(item_width=self.item_width, heads=self.heads)
        if len(self.hidden) < 2 or min(self.hidden) < 1:
            raise ValueError(f"hidden: expected widths of at least 1 for 2 layers or more, got {self.hidden}")
        width = self.item_width + (self.category_width if self.categories else 0)
        if width % self.heads:
            raise ValueError(
                f"item_width: expected an item's vector of a width that {self.heads} heads divide, got {width} "
                f"({self.item_width} and {width - self.item_width} for categories)"
            )
        at_least_one(profile_width=self.profile_width, category_width=self.category_width)
        if self.attention not in ("dot", "activation_unit"):
            raise ValueError(f"attention: expected 'dot' or 'activation_unit', got {self.attention!r}")
        if not self.profile_sizes:
            raise ValueError("profile_sizes: expected at least one field (a constant one will do), got none")
        a_share(dropout=self.dropout)
        exportable.activation(self.activation)

    @classmethod
    def for_data(cls, catalogue: Catalogue, users: Users, **choices: Any) -> "DinConfig":
        """A configuration whose sizes fit the data; `choices` override the other defaults."""
        return cls(
            items=len(catalogue),
            profile_sizes=tuple(field.size for field in users.fields),
            categories=len(catalogue.category_names),
            categories_per_item=catalogue.categories.shape[1],
            **choices,
        )

    @property
    def junction_widths(self) -> tuple[int, ...]:
        """F of each junction: after the first two layers that follow the features and after the last but one
        (Section 4.1.2; the last layer is the logit)."""
        return tuple(self.hidden[index] for index in self.junction_layers)

    @property
    def junction_layers(self) -> tuple[int, ...]:
        return tuple(sorted({0, 1, len(self.hidden) - 1}))


@keras.saving.register_keras_serializable(package="dccl")
class Din(keras.Model):
    """DIN without a user-id embedding: profile and history describe the user (see docs/protocol.md for why)."""

    def __init__(self, config: DinConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.items = ItemEmbedding(
            config.items,
            config.item_width,
            config.categories,
            config.categories_per_item,
            config.category_width,
        )
        self.profile = ProfileEmbedding(config.profile_sizes, config.profile_width)
        width = self.items.width
        self.attention = TargetAttention(
            config.history_length, width, config.heads, config.attention, config.history_labels
        )
        self.activation = exportable.activation(config.activation)
        self.dropout = ByteDropout(config.dropout)
        # The first layer over [interest, candidate, interest * candidate] and, once a row, over the profile.
        self.pair_layer = keras.layers.Dense(config.hidden[0], name="pair_layer")
        self.profile_layer = keras.layers.Dense(config.hidden[0], use_bias=False, name="profile_layer")
        self.layers_above = [
            keras.layers.Dense(units, name=f"layer_{index}") for index, units in enumerate(config.hidden[1:], start=1)
        ]
        self.logit = keras.layers.Dense(1, name="logit")
        self.pair_layer.build((None, 3 * width))
        self.profile_layer.build((None, len(config.profile_sizes) * config.profile_width))
        for layer, inputs in zip([*self.layers_above, self.logit], config.hidden, strict=True):
            layer.build((None, inputs))
        self.built = True

    @classmethod
    def for_data(cls, catalogue: Catalogue, users: Users, **choices: Any) -> "Din":
        """A DIN whose sizes and item categories are those of the data."""
        model = cls(DinConfig.for_data(catalogue, users, **choices))
        model.items.set_categories(catalogue.categories)
        return model

    def call(
        self,
        inputs: dict[str, tf.Tensor],
        patches: Patches | None = None,
        gate: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Logits of the candidates; see the module's first lines for the shapes.

        Args:
          inputs: "history", "candidates", "profile" and, if the model takes it, "history_labels".
          patches: one for each junction (`MetaPatch`), each with a leading axis B; None is the cloud model.
          gate: [B, 1, 1] or None, which means 1.
          training: whether dropout is on.
        """
        hidden, shape = self.below(inputs, training)
        return tf.reshape(self.head(hidden, patches, gate, training), [-1, *shape])

    def below(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tuple[tf.Tensor, list[int]]:
        """`encode` from ids, and the shape of the answer.

        Returns:
          [B, N, F], N being C or S * C; and [C], or [S, C] in the packed form.
        """
        candidates = inputs["candidates"]
        packed = candidates.shape.rank == 3
        if not packed:
            candidates = candidates[:, None, :]
        hidden = self.encode(
            self.items(inputs["history"]),
            self.items(candidates),
            inputs["profile"],
            inputs["history"] > 0,
            inputs.get("history_labels"),
            training,
        )
        shape = hidden.shape[1:3].as_list()
        return tf.reshape(hidden, [-1, shape[0] * shape[1], hidden.shape[-1]]), shape if packed else shape[1:]

    def encode(
        self,
        history: tf.Tensor,
        candidates: tf.Tensor,
        profile: tf.Tensor,
        real: tf.Tensor,
        history_labels: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """All that lies below the first junction, which no metapatch changes.

        Args:
          history: item vectors [B, L, D], L = T + S - 1.
          candidates: item vectors [B, S, C, D].
          profile: int32 [B, P], or [1, P] for all rows.
          real: bool [B, L].
          history_labels: int32 [B, L] or None.
          training: whether dropout is on.

        Returns:
          Outputs of the first fully connected layer, [B, S, C, F].
        """
        if self.config.history_labels and history_labels is None:
            raise ValueError("inputs: expected 'history_labels', which this model was made with, got none")
        interest = self.attention(history, candidates, real, history_labels)
        pair = tf.concat([interest, candidates, interest * candidates], axis=-1)
        hidden = self.pair_layer(self.dropout(pair, training=training))
        described = self.profile_layer(self.profile(profile))  # [B, F]
        return self.activation(hidden + tf.reshape(described, [-1, 1, 1, self.config.hidden[0]]))

    def head(
        self,
        hidden: tf.Tensor,
        patches: Patches | None = None,
        gate: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """From the first junction to the logits: all that a metapatch changes.

        Args:
          hidden: [N, F] or [B, N, F], as `encode` gives it.
          patches: for each junction a patch without (rank 2 input) or with (rank 3) an axis B; None: no patches.
          gate: broadcasts against `hidden`; None means 1.
          training: whether dropout is on.

        Returns:
          Logits [N] or [B, N].
        """
        at = dict(zip(self.config.junction_layers, patches or (), strict=bool(patches)))
        hidden = apply_patch(hidden, at.get(0), gate)
        for index, layer in enumerate(self.layers_above, start=1):
            with tf.name_scope(layer.name):  # by which an export says what stands in its way
                hidden = self.activation(layer(self.dropout(hidden, training=training)))
                hidden = apply_patch(hidden, at.get(index), gate)
        return one_a_row(self.logit(hidden))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "config": asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Din":
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in config.pop("config").items()}
        if isinstance(fields["activation"], dict):  # a function, as Keras saves it
            fields["activation"] = keras.saving.deserialize_keras_object(fields["activation"])
        return cls(DinConfig(**fields), **config)


def one_a_row(logits: tf.Tensor) -> tf.Tensor:
    """Logits [N, 1] or [B, N, 1] without their last axis, whether N is known or not."""
    if logits.shape.rank == 2:
        return tf.reshape(logits, [-1])
    rows = logits.shape[1]
    return tf.reshape(logits, [-1, tf.shape(logits)[1] if rows is None else rows])

"""What the cloud trains and ships: the model f, the basis of its patches and the auxiliary encoder, as one.

cloud = CloudModel.for_data(log.catalogue, log.users, length=16)
logits = cloud(batch)                          # f, the cloud model
logits = cloud(batch, theta=vectors)           # f^(m), a personal model for each row
cloud.save("cloud.keras"); keras.saving.load_model("cloud.keras")
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from dccl_tf.aux_encoder import AuxEncoder
from dccl_tf.data.schema import Catalogue, Users
from dccl_tf.metapatch import MetaPatch
from dccl_tf.models.din import Din


@keras.saving.register_keras_serializable(package="dccl")
class CloudModel(keras.Model):
    """f (`din`), Theta (`metapatch`) and U (`encoder`) of the paper."""

    def __init__(self, din: Din, metapatch: MetaPatch, encoder: AuxEncoder, data: str = "", **kwargs: Any) -> None:
        """Args:
        din, metapatch, encoder: f, Theta and U.
        data: `names_of` what the model numbers; empty: not known.
        """
        super().__init__(**kwargs)
        self.din, self.metapatch, self.encoder, self.data = din, metapatch, encoder, data
        self.built = True

    @classmethod
    def for_data(
        cls,
        catalogue: Catalogue,
        users: Users,
        length: int = 16,
        bottlenecks: tuple[int, ...] = (16, 16, 16),
        junctions: tuple[bool, ...] | None = None,
        **din_choices: Any,
    ) -> "CloudModel":
        """A model whose sizes fit the data. length is K, bottlenecks are R of each junction."""
        din = Din.for_data(catalogue, users, **din_choices)
        metapatch = MetaPatch(length, din.config.junction_widths, bottlenecks, junctions)
        return cls(din, metapatch, AuxEncoder(length, din.config.profile_sizes), data=names_of(catalogue, users))

    def call(
        self,
        inputs: dict[str, tf.Tensor],
        theta: tf.Tensor | None = None,
        gate: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Logits as `Din.call` gives them; theta [B, K] makes each row's model personal, gate [B] weighs it."""
        patches = None if theta is None else self.metapatch(theta)
        gate = None if gate is None else tf.reshape(gate, [-1, 1, 1])
        return self.din(inputs, patches=patches, gate=gate, training=training)

    def shared_and_personal(
        self, inputs: dict[str, tf.Tensor], theta: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits of f and of the personal models of theta [B, K]; what lies below the patches is computed once."""
        hidden, shape = self.din.below(inputs, training)
        patches = (None, self.metapatch(theta))
        shared, personal = (self.din.head(hidden, each, training=training) for each in patches)
        return tf.reshape(shared, [-1, *shape]), tf.reshape(personal, [-1, *shape])

    @cached_property
    def logits(self) -> Callable[..., tf.Tensor]:
        """`call` without dropout, compiled once a shape: for evaluation."""
        return tf.function(lambda inputs, theta=None, gate=None: self(inputs, theta, gate))

    def check_made_for(self, catalogue: Catalogue, users: Users, name: str = "the model") -> None:
        """Raises ValueError unless the model's numbers of items and profile values mean those of these data.

        A catalogue of the same size with other items, or with the same in another order, raises no error anywhere else.
        """
        if self.data and self.data != names_of(catalogue, users):
            raise ValueError(
                f"checkpoint: expected a model of this log's {len(catalogue)} items and profile fields, got {name}, "
                "made for others; give the log that it was trained on, with the same filters and id types"
            )

    def copy(self) -> "CloudModel":
        """A model of its own with the same weights."""
        twin = self.from_config(self.get_config())
        twin.set_weights(self.get_weights())
        return twin

    def get_config(self) -> dict[str, Any]:
        parts = {"din": self.din, "metapatch": self.metapatch, "encoder": self.encoder}
        return {"name": self.name, "data": self.data} | {
            k: keras.saving.serialize_keras_object(v) for k, v in parts.items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CloudModel":
        parts = {k: keras.saving.deserialize_keras_object(config.pop(k)) for k in ("din", "metapatch", "encoder")}
        return cls(**parts, **config)


def names_of(catalogue: Catalogue, users: Users) -> str:
    """SHA-256 of all that a model knows by number: item ids, and fields of the profile with their values."""
    ids = catalogue.ids.tolist()
    told = [list(map(str, ids)), [(field.name, field.values) for field in users.fields]]
    if all(isinstance(item, str) and item.removeprefix("-").isdecimal() for item in ids):
        told.append("text")  # a phone that logs numbers finds none of them in a vocabulary of text
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()

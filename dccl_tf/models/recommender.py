"""The contract of `din` for models of a few lines: what a model is built for, and its two forms of input.

A subclass scores candidates [B, S, C]; serving ([B, C]) is the case S = 1. Models of this kind also read

    "users": int32 [B], 0..U-1; U stands for a user who is not known.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import keras
import tensorflow as tf

from dccl_tf.arguments import at_least_one
from dccl_tf.data.schema import Catalogue, Users

Inputs = dict[str, tf.Tensor]


@dataclass(frozen=True)
class DataSizes:
    """What the data decide about a model's tables."""

    users: int  # U
    items: int  # V
    profile_sizes: tuple[int, ...] = ()  # values of each profile field, "unknown" included
    categories: int = 0  # G; 0: the items have none
    categories_per_item: int = 1  # M

    def __post_init__(self) -> None:
        at_least_one(users=self.users, items=self.items)
        object.__setattr__(self, "profile_sizes", tuple(self.profile_sizes))  # a loaded file brings a list

    @classmethod
    def for_data(cls, catalogue: Catalogue, users: Users) -> "DataSizes":
        return cls(
            users=len(users),
            items=len(catalogue),
            profile_sizes=tuple(field.size for field in users.fields),
            categories=len(catalogue.category_names),
            categories_per_item=catalogue.categories.shape[1],
        )


class Recommender(keras.Model):
    """A model that is made of `sizes` and of choices by name, and that saves and loads by them."""

    def __init__(self, sizes: DataSizes, choices: dict[str, Any], **kwargs: Any) -> None:
        """Args:
        sizes: of the data.
        choices: the other arguments of the subclass, by which `from_config` makes it again.
        **kwargs: of `keras.Model`.
        """
        super().__init__(**kwargs)
        self.sizes = sizes
        self._choices = choices
        self.built = True

    @classmethod
    def for_data(cls, catalogue: Catalogue, users: Users, **choices: Any) -> Self:
        """A model whose sizes and item categories are those of the data."""
        model = cls(DataSizes.for_data(catalogue, users), **choices)
        model.item_fields.set_categories(catalogue.categories)
        return model

    def call(self, inputs: Inputs, training: bool = False) -> tf.Tensor:
        """Logits [B, C], or [B, S, C] where "candidates" is packed (see `din`)."""
        candidates = inputs["candidates"]
        if candidates.shape.rank == 3:
            return self.score(inputs, candidates, training)
        return self.score(inputs, candidates[:, None, :], training)[:, 0]

    def score(self, inputs: Inputs, candidates: tf.Tensor, training: bool) -> tf.Tensor:
        """Logits [B, S, C] of candidates int32 [B, S, C]."""
        raise TypeError(f"{type(self).__name__}: expected a model that says how it scores, got the bare contract")

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "sizes": asdict(self.sizes), **self._choices}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(DataSizes(**config.pop("sizes")), **config)

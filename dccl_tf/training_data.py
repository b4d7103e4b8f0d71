"""A span of a log as epochs of packed batches: what `trainer.fit` draws from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from dccl_tf.data.batches import Rows, batches, batches_in_order, pack
from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import InteractionLog, Span


def candidates_of(protocol: str, negatives: int) -> int:
    """C, samples at each position: under "next" the item that came and the drawn ones, else the item alone."""
    return 1 + negatives if protocol == "next" else 1


@dataclass(frozen=True)
class TrainingData:
    """The samples of one phase; call it with an epoch's number for that epoch's batches."""

    log: InteractionLog
    span: Span
    protocol: str  # "next" or "liked"
    history_length: int  # T
    positions: int = 32  # S, target positions of a packed row
    batch_rows: int = 64  # packed rows a batch
    negatives: int = 4  # for each true item, protocol "next" alone
    seed: int = 0

    @cached_property
    def rows(self) -> Rows:
        return pack(self.log, self.span, self.history_length, self.positions)

    @cached_property
    def sampler(self) -> NegativeSampler | None:
        """Draws from what the user has not touched up to the end of this span. What comes later must stay
        drawable: to leave it out would tell the model which items the user is going to meet."""
        return NegativeSampler(self.log, self.span.stop) if self.protocol == "next" else None

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.rows.users) // self.batch_rows)

    @property
    def candidates(self) -> int:
        """C, samples at each position."""
        return candidates_of(self.protocol, self.negatives)

    def samples_of_users(self) -> np.ndarray:
        """Samples of each user [U], at least 1."""
        return np.maximum(self.span.lengths, 1) * self.candidates

    def __call__(self, epoch: int) -> tf.data.Dataset:
        return batches(self.rows, self.log, **self._choices(epoch))

    def in_order(self, epoch: int) -> Iterator[dict[str, np.ndarray]]:
        """An epoch's batches user by user, oldest first, as NumPy arrays."""
        return batches_in_order(self.rows, self.log, **self._choices(epoch))

    def _choices(self, epoch: int) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "batch_size": self.batch_rows,
            "seed": self.seed,
            "epoch": epoch,
            "negatives": self.negatives,
            "sampler": self.sampler,
        }

    def of_users(self, users: np.ndarray) -> "TrainingData":
        """The same, for some users only."""
        chosen = np.zeros(len(self.span.start), bool)
        chosen[users] = True
        return self._part(Span(self.span.start, np.where(chosen, self.span.stop, self.span.start)))

    def since(self, start: np.ndarray) -> "TrainingData":
        """The same, from each user's position `start` [U] on."""
        return self._part(Span(start, self.span.stop))

    def _part(self, span: Span) -> "TrainingData":
        part = replace(self, span=span)
        part.__dict__["sampler"] = self.sampler  # of the whole span; costs a pass over the log to make anew
        return part

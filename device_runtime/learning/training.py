"""A training as a row of small steps, each a function of where it stands: it can stop after any of them and go on
later, bit for bit (docs/protocol.md, Personalisation).
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from device_runtime.interpreter.engine import Engine, VectorState
from device_runtime.learning.encoded import EncodedRows
from device_runtime.learning.schedule import epoch_schedule
from device_runtime.learning.weighing import finite, heldout_loss
from device_runtime.state.checkpoint import Progress


class DivergedError(Exception):
    """A loss or a state is not sound."""


@dataclass(frozen=True)
class Training:
    """What a training is made of. All of it stays as it is from the first step to the last."""

    engine: Engine
    rows: EncodedRows
    training: np.ndarray  # numbers of the rows to train on, oldest first
    heldout: np.ndarray  # numbers of those that weigh
    anchor: np.ndarray  # [K] that `pull` draws towards
    learning_rate: float
    epochs: int
    pull: float  # shared by the training rows
    seed: int
    patience: int | None
    _order: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # of the newest epoch

    def schedule(self, epoch: int) -> np.ndarray:
        """[steps, B] places in `training`, -1 for padding. Of one epoch at a time: there may be any number of them, to
        be ended by a budget."""
        if self._order.get("epoch") != epoch:
            order = epoch_schedule(len(self.training), self.engine.manifest.train_batch, epoch, self.seed)
            self._order.update(epoch=epoch, order=order)
        return self._order["order"]

    @cached_property
    def pull_of_a_step(self) -> float:
        return float(np.float32(self.pull / max(1, len(self.training))))

    def begin(self, start: VectorState) -> Progress:
        """Before the first step; a vector that was trained before competes with those to come."""
        cloud = self._heldout_loss(start, gate=0.0)
        own = self._heldout_loss(start, gate=1.0) if start.step[0] > 0 else None
        return Progress(start, start, finite(own), None, cloud)

    def over(self, at: Progress) -> str | None:
        """Why there is no further step: "no samples", "patience" or "finished"; None if there is one."""
        if not len(self.training):
            return "no samples"
        since = at.epoch if at.best_epoch is None else at.epoch - 1 - at.best_epoch
        if at.step == 0 and at.epoch and self.patience is not None and since >= self.patience:
            return "patience"
        return "finished" if at.epoch >= self.epochs else None

    def step(self, at: Progress) -> tuple[float, Progress]:
        """Does a step, and what belongs to the end of an epoch after its last one.

        Returns:
          The loss of the batch before the step, and where the training stands now.

        Raises:
          DivergedError: training ends here, and the epoch does not count.
        """
        schedule = self.schedule(at.epoch)
        chosen = schedule[at.step]
        batch = self.rows.batch(np.where(chosen >= 0, self.training[chosen], -1))
        loss, current = self.engine.train(at.current, batch, self.learning_rate, self.anchor, self.pull_of_a_step)
        if not (math.isfinite(loss) and current.sound):
            raise DivergedError
        after = replace(
            at,
            current=current,
            step=at.step + 1,
            steps=at.steps + 1,
            epoch_loss=at.epoch_loss + loss * float(batch.weights.sum()),
        )
        return loss, self.end_epoch(after) if after.step == len(schedule) else after

    def end_epoch(self, at: Progress) -> Progress:
        """Weighs the vector as after a whole epoch; nothing to do if no step was done since the last one."""
        if not at.step:
            return at
        rows = int((self.schedule(at.epoch)[: at.step] >= 0).sum())
        heldout = self._heldout_loss(at.current, gate=1.0)
        after = replace(at, epoch=at.epoch + 1, step=0, epoch_loss=0.0, losses=(*at.losses, at.epoch_loss / rows))
        if heldout is None:  # the newest is kept
            return replace(after, best=at.current, best_epoch=at.epoch)
        after = replace(after, heldout_losses=(*at.heldout_losses, math.inf if finite(heldout) is None else heldout))
        if finite(heldout) is None or (at.best_loss is not None and heldout >= at.best_loss):
            return after
        return replace(after, best=at.current, best_loss=heldout, best_epoch=at.epoch)

    def _heldout_loss(self, state: VectorState, gate: float) -> float | None:
        return heldout_loss(self.engine, self.rows, self.heldout, state, gate)

"""What a training run keeps: the best weights, and all state on disk after each epoch."""

import json
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from dccl_tf.distribution import is_chief, of_chief
from dccl_tf.progress import quiet
from dccl_tf.weight_average import WeightAverage


@dataclass
class History:
    """What happened, epoch by epoch."""

    loss: list[float] = field(default_factory=list)  # mean training loss, nats
    validation: list[float] = field(default_factory=list)  # higher is better; empty without validation
    best_epoch: int = -1  # 0-based; the weights that the model ends with

    def has_settled(self, patience: int) -> bool:
        """Whether the last `patience` epochs were no better; 0: never."""
        return bool(patience and self.validation and len(self.validation) - 1 - self.best_epoch >= patience)


class Keeper:
    """Keeps the best weights, and all state on disk after each epoch.

    Among several workers the chief alone writes; all read, so `folder` lies where they all see it.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        average: WeightAverage | None,
        folder: Path | None,
        settings: dict[str, Any],
    ) -> None:
        """Goes on from what lies in `folder`.

        Raises:
          ValueError: what lies there is of another model or was trained by other `settings`; or this worker found
            another epoch there than the chief.
        """
        strategy = tf.distribute.get_strategy()
        self._variables = [variable.value for variable in variables]
        self._average = average
        self._best = [tf.Variable(variable, trainable=False) for variable in self._variables]
        self._state = _Told(settings)
        state = {f"state{i}": variable.value for i, variable in enumerate([*model.variables, *optimizer.variables])}
        state |= {f"best{i}": variable for i, variable in enumerate(self._best)}
        state |= {f"average{i}": variable for i, variable in enumerate(average.values if average else ())}
        checkpoint = tf.train.Checkpoint(history=self._state, **state)
        _ = checkpoint.save_counter  # made here by all workers together: the chief alone would wait for the others
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1) if folder else None
        self._writes = is_chief(strategy)
        if self._manager and (newest := self._manager.latest_checkpoint):
            try:
                checkpoint.restore(newest).assert_existing_objects_matched()
            except (AssertionError, ValueError, KeyError, tf.errors.OpError) as error:
                raise ValueError(
                    f"checkpoint_dir: expected the state of this model and version in {newest}, got another "
                    f"({str(error).splitlines()[0]}); delete the folder, or give another"
                ) from error
        told = self._state.settings
        if other := [name for name in settings if told.get(name) != settings[name]]:
            raise ValueError(
                f"checkpoint_dir: expected a training with {other[0]} {settings[other[0]]} in {folder}, got one with "
                f"{told.get(other[0])}; delete the folder, or give another"
            )
        found, chief = len(self.history.loss), int(of_chief(strategy, len(self.history.loss)))
        if found != chief:
            raise ValueError(
                f"checkpoint_dir: expected one folder that all workers share, got {folder} with {found} epochs "
                f"where the first worker has {chief}"
            )

    @property
    def history(self) -> History:
        return self._state.history

    def judged(self) -> AbstractContextManager[None]:
        """Inside, the variables hold what validation judges and `note` may keep."""
        return self._average.in_place() if self._average else nullcontext()

    def note(self) -> None:
        """Takes note of the epoch that has just been judged; a tie with an earlier one is no better."""
        validation = self.history.validation
        if not validation or validation[-1] > max(validation[:-1], default=-math.inf):
            self.history.best_epoch = len(self.history.loss) - 1
            for best, variable in zip(self._best, self._variables, strict=True):
                best.assign(variable)

    def save(self) -> None:
        """Writes all state, with the variables as they train."""
        if self._manager and self._writes:
            try:
                with quiet():
                    self._manager.save()
            except tf.errors.OpError as error:
                raise OSError(
                    f"checkpoint_dir: {self._manager.directory} cannot be written ({error.message}); free space there "
                    "and start again, and the training goes on from the last epoch that was saved"
                ) from error

    def restore_best(self) -> None:
        for best, variable in zip(self._best, self._variables, strict=True):
            variable.assign(best)


class _Told(tf.train.experimental.PythonState):
    """History and settings as text in a checkpoint; a variable of text cannot be sent among workers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.history, self.settings = History(), settings

    def serialize(self) -> str:
        return json.dumps({"history": asdict(self.history), "settings": self.settings})

    def deserialize(self, string_value: bytes) -> None:
        told = json.loads(string_value)
        self.history, self.settings = History(**told["history"]), told["settings"]

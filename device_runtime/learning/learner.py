"""From a device's log to a trained vector, or to the evidence for one that came from elsewhere."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from device_runtime.bundle.bundle import Bundle
from device_runtime.errors import StateError, StorageError
from device_runtime.interpreter.engine import Engine, VectorState
from device_runtime.learning.encoded import encode
from device_runtime.learning.personalize import Budget, OnStep, Outcome, PersonalizeConfig, ShouldStop, train
from device_runtime.learning.rows import Rows, encode_rows
from device_runtime.learning.schedule import heldout_rows
from device_runtime.learning.training import Training
from device_runtime.learning.weighing import decide_gate, evidence_of
from device_runtime.log.samples import SampleLog
from device_runtime.state.checkpoint import Checkpoint, CheckpointFile, Progress, Task, fingerprint
from device_runtime.state.device_state import DeviceState, Evidence

_CHECKPOINT_SECONDS = 5.0  # what a kill undoes is done again, so there is no need to write often


@dataclass(frozen=True)
class Learner:
    """A model, the bundle that it came in, and the log to learn from."""

    engine: Engine
    bundle: Bundle
    log: SampleLog

    def learn(
        self,
        state: DeviceState,
        profile: np.ndarray,
        file: CheckpointFile,
        config: PersonalizeConfig | None = None,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Outcome:
        """Trains on from a state, for a profile [P] int32, or goes on with what an interrupted call left.

        Nothing but the checkpoint is stored: it is there while a training is unfinished, and names the outcome as a
        vector that the device may have in use. The caller clears it once the outcome of a whole training is stored.
        """
        config = self.settings(config)
        budget = Budget(config, should_stop, time.perf_counter())
        in_use = fingerprint(state.current, state.anchor)
        rows, task, found, dropped = self._find(file, config, profile, in_use)
        training = self._training(rows, profile, state.anchor, config)
        if found is None:
            found = Checkpoint(task, (in_use,), training.begin(state.current))
        keep = _every_so_often(lambda progress: file.save(replace(found, progress=progress)))
        outcome, progress = train(training, found.progress, budget, on_step, keep)
        if outcome.report.interrupted and progress.steps:
            left = found.left(fingerprint(outcome.state, state.anchor))
            file.save(replace(left, progress=progress))
        return replace(outcome, report=replace(outcome.report, checkpoint_dropped=dropped))

    def weigh(self, current: VectorState, profile: np.ndarray) -> tuple[Evidence, float]:
        """A vector's evidence on the newest rows, and the gate that follows, by the bundle's defaults."""
        config = self.settings(None)
        rows, _ = self._rows(config)
        heldout = rows.take(np.flatnonzero(heldout_rows(rows.at, config.heldout_fraction)))
        evidence = evidence_of(self.engine, encode(self.engine, heldout, profile), np.arange(len(heldout)), current)
        return evidence, decide_gate(evidence, config.gate_margin)

    def settings(self, config: PersonalizeConfig | None) -> PersonalizeConfig:
        """The settings with the manifest's defaults filled in."""
        return (config or PersonalizeConfig()).with_defaults(self.bundle.manifest.training)

    def _find(
        self, file: CheckpointFile, config: PersonalizeConfig, profile: np.ndarray, in_use: str
    ) -> tuple[Rows, Task, Checkpoint | None, str | None]:
        """The rows to train on, and the checkpoint to go on from or the reason why what was there is of no use."""
        try:
            found = file.load()
        except (StateError, StorageError) as error:
            found, dropped = None, str(error)
        else:
            dropped = None
        if found is not None:
            rows, task = self._task(config, profile, until=found.task.newest)
            different = found.task.differs(task) or (None if in_use in found.fits else "another vector")
            if different is None:
                return rows, task, found, None
            dropped = f"it belongs to {different}"
        return *self._task(config, profile), None, dropped

    def _task(self, config: PersonalizeConfig, profile: np.ndarray, until: int | None = None) -> tuple[Rows, Task]:
        rows, newest = self._rows(config, until)
        content = (rows.items, rows.item_labels, rows.at, rows.candidates, rows.labels, profile)
        digest = hashlib.sha256(b"".join(part.tobytes() for part in content)).hexdigest()
        return rows, Task(self.bundle.identity.hex(), config.without_budget(), newest, digest)

    def _rows(self, config: PersonalizeConfig, until: int | None = None) -> tuple[Rows, int]:
        """The rows of the log, as it was when its newest row was number `until`, and that number."""
        logged, length = self.log.read(until), self.bundle.manifest.history_length
        return encode_rows(logged, self.bundle.vocabulary, length, config.negatives, config.seed), logged.newest

    def _training(self, rows: Rows, profile: np.ndarray, anchor: np.ndarray, config: PersonalizeConfig) -> Training:
        heldout = heldout_rows(rows.at, config.heldout_fraction)
        return Training(
            engine=self.engine,
            rows=encode(self.engine, rows, profile),
            training=np.flatnonzero(~heldout),
            heldout=np.flatnonzero(heldout),
            anchor=anchor,
            learning_rate=config.learning_rate,
            epochs=config.epochs,
            pull=config.pull,
            seed=config.seed,
            patience=config.patience,
        )


def _every_so_often(save: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """A function of each step's progress that saves some of them."""
    last = time.monotonic()

    def keep(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _CHECKPOINT_SECONDS:
            save(progress)
            last = time.monotonic()

    return keep

"""Personalisation (Eq. 3 on one device): trains the vector on the device's own samples (docs/protocol.md).

Nothing is stored here, so whatever goes wrong leaves the device as it was.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from device_runtime.errors import InputError
from device_runtime.interpreter.engine import VectorState
from device_runtime.learning.training import DivergedError, Training
from device_runtime.learning.weighing import decide_gate
from device_runtime.state.checkpoint import Progress
from device_runtime.state.device_state import Evidence
from protos import dccl_pb2

OnStep = Callable[[int, int, float], None]  # epoch and step from 0, loss of the batch before the step
ShouldStop = Callable[[], bool]
OnProgress = Callable[[Progress], None]

INTERRUPTIONS = ("should_stop", "max_seconds", "max_steps")


@dataclass(frozen=True)
class PersonalizeConfig:
    """How to train. What is None is as the bundle's manifest says."""

    learning_rate: float | None = None
    epochs: int | None = None  # at most
    pull: float | None = None  # precision of the prior at the anchor: n rows share 0.5 * pull * |vector - anchor|^2
    heldout_fraction: float | None = None  # newest interactions, kept for the gate
    gate_margin: float | None = None  # held-out log loss that personal must win by; negative: may lose by
    negatives: int | None = None  # drawn for each click that has nothing skipped beside it
    seed: int = 0
    patience: int | None = None  # epochs without a better held-out loss before stopping; None: all epochs are run
    # The budget of one call. What it leaves undone, the next call goes on with.
    max_seconds: float | None = None  # wall time of the call, which does one step at least; None: no limit
    max_steps: int | None = None  # steps of this call; None: no limit

    def __post_init__(self) -> None:
        for name, least, most in (
            ("learning_rate", 0.0, math.inf),
            ("epochs", 1, math.inf),
            ("pull", 0.0, math.inf),
            ("heldout_fraction", 0.0, 1.0),
            ("gate_margin", -math.inf, math.inf),
            ("negatives", 0, math.inf),
            ("seed", 0, 2.0**32),
            ("patience", 1, math.inf),
            ("max_seconds", 0.0, math.inf),
            ("max_steps", 1, math.inf),
        ):
            value = getattr(self, name)
            whole = name in ("epochs", "negatives", "seed", "patience", "max_steps")
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
                raise InputError(f"{name}: expected a {'whole ' if whole else ''}number, got {value!r}")
            if not least <= value < most:
                raise InputError(f"{name}: expected a value in [{least}, {most}), got {value}")
            object.__setattr__(self, name, int(value) if whole else float(value))  # NumPy's numbers are no JSON

    def with_defaults(self, training: dccl_pb2.Training) -> "PersonalizeConfig":
        """The same with every None but `patience` filled in from a manifest."""
        ours = {field.name for field in fields(self)} & set(training.DESCRIPTOR.fields_by_name)
        return replace(self, **{name: getattr(training, name) for name in ours if getattr(self, name) is None})

    def without_budget(self) -> dict[str, Any]:
        """What decides the result: two calls that agree in it do the same training."""
        return {name: value for name, value in asdict(self).items() if name not in ("max_seconds", "max_steps")}


@dataclass(frozen=True)
class Report:
    """What a training did, with what earlier calls did of it. Losses are mean log losses."""

    stopped: (
        str  # finished, no samples, patience, diverged; or, to be gone on with: should_stop, max_seconds, max_steps
    )
    samples: int  # rows trained on
    heldout_samples: int
    steps: int
    losses: tuple[float, ...]  # of each epoch's batches before their step
    heldout_losses: tuple[float, ...]  # after each epoch, gate 1; empty without held-out rows
    best_epoch: int | None  # whose vector was kept, from 0; None: the vector is the one from before
    cloud_loss: float | None  # held-out, gate 0
    personal_loss: float | None  # held-out, the kept vector with gate 1
    gate: float
    seconds: float  # of this call
    step_of_failure: int | None = None  # the step after which the loss or the state was not sound
    steps_before: int = 0  # of `steps`, those that earlier, interrupted calls had done
    checkpoint_dropped: str | None = None  # why what an interrupted call had left was of no use
    peak_memory: int | None = None  # bytes, of the whole process so far; None where the system does not say

    @property
    def interrupted(self) -> bool:
        """Whether the next call goes on with this training."""
        return self.stopped in INTERRUPTIONS

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """The kept vector, the evidence for its gate, and the report."""

    state: VectorState
    evidence: Evidence
    gate: float
    report: Report

    @property
    def trained(self) -> bool:
        return self.report.best_epoch is not None


@dataclass(frozen=True)
class Budget:
    """How much one call may do."""

    config: PersonalizeConfig
    should_stop: ShouldStop | None
    began: float  # of time.perf_counter

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.perf_counter() - self.began

    def spent(self, steps: int) -> str | None:
        """Which limit is reached after this call's `steps`, one of `INTERRUPTIONS`; None: none is."""
        if self.should_stop is not None and self.should_stop():
            return "should_stop"
        if self.config.max_steps is not None and steps >= self.config.max_steps:
            return "max_steps"
        if not steps or self.config.max_seconds is None:  # without a step many short calls would never get anywhere
            return None
        return "max_seconds" if self.seconds >= self.config.max_seconds else None


def train(
    training: Training,
    at: Progress,
    budget: Budget,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Outcome, Progress]:
    """Trains a vector and weighs it against the cloud model.

    Args:
      training: rows and settings.
      at: where to go on, `training.begin(...)` or where an earlier call stopped.
      budget: asked before every step; what was trained until it is spent is weighed like a whole epoch.
      on_step: called after every step.
      on_progress: called after every step, with all that is needed to go on from there.

    Returns:
      What to put into use: the vector with the lowest held-out loss among those after each epoch, and the one from
      before if it had been trained; without held-out rows the newest, with gate 0. If a loss or a state is not sound,
      training ends there and that epoch does not count. And where to go on, should the budget have been spent.
    """
    before, failure = at.steps, None
    while not (stopped := training.over(at) or budget.spent(at.steps - before)):
        try:
            loss, after = training.step(at)
        except DivergedError:
            stopped, failure = "diverged", at.steps
            break
        if on_step is not None:
            on_step(at.epoch, at.step, loss)
        if on_progress is not None:
            on_progress(after)
        at = after
    shown = training.end_epoch(at) if stopped in INTERRUPTIONS else at
    evidence = Evidence(len(training.heldout), shown.cloud_loss, shown.best_loss)
    gate = decide_gate(evidence, budget.config.gate_margin)
    report = Report(
        stopped=stopped,
        samples=len(training.training),
        heldout_samples=len(training.heldout),
        steps=at.steps,
        losses=shown.losses,
        heldout_losses=shown.heldout_losses,
        best_epoch=shown.best_epoch,
        cloud_loss=shown.cloud_loss,
        personal_loss=shown.best_loss,
        gate=gate,
        seconds=budget.seconds,
        step_of_failure=failure,
        steps_before=before,
        peak_memory=peak_memory(),
    )
    return Outcome(shown.best, evidence, gate, report), at


def peak_memory() -> int | None:
    """Largest resident size of this process so far, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

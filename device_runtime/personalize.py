"""Personalisation (Eq. 3 on one device): trains the vector on the device's own samples (docs/protocol.md).

Functions of a vector, rows and settings; nothing is stored here, so whatever goes wrong leaves the device as it was.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from device_runtime.encoded import EncodedRows, encode
from device_runtime.engine import Engine, VectorState
from device_runtime.errors import InputError
from device_runtime.rows import Rows
from device_runtime.schedule import training_schedule
from device_runtime.state import Evidence
from protos import dccl_pb2

OnStep = Callable[[int, int, float], None]  # epoch and step from 0, loss of the batch before the step
ShouldStop = Callable[[], bool]


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
        ):
            value = getattr(self, name)
            whole = name in ("epochs", "negatives", "seed", "patience")
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
                raise InputError(f"{name}: expected a {'whole ' if whole else ''}number, got {value!r}")
            if not least <= value < most:
                raise InputError(f"{name}: expected a value in [{least}, {most}), got {value}")

    def with_defaults(self, training: dccl_pb2.Training) -> "PersonalizeConfig":
        """The same with every None but `patience` filled in from a manifest."""
        ours = {field.name for field in fields(self)} & set(training.DESCRIPTOR.fields_by_name)
        return replace(self, **{name: getattr(training, name) for name in ours if getattr(self, name) is None})


@dataclass(frozen=True)
class Report:
    """What a training did. Losses are mean log losses."""

    stopped: str  # finished, no samples, patience, should_stop or diverged
    samples: int  # rows trained on
    heldout_samples: int
    steps: int
    losses: tuple[float, ...]  # of each epoch's batches before their step
    heldout_losses: tuple[float, ...]  # after each epoch, gate 1; empty without held-out rows
    best_epoch: int | None  # whose vector was kept, from 0; None: the vector is the one from before
    cloud_loss: float | None  # held-out, gate 0
    personal_loss: float | None  # held-out, the kept vector with gate 1
    gate: float
    seconds: float
    step_of_failure: int | None = None  # the step after which the loss or the state was not sound

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


def train(
    engine: Engine,
    rows: Rows,
    heldout: np.ndarray,
    start: VectorState,
    anchor: np.ndarray,
    profile: np.ndarray,
    config: PersonalizeConfig,
    on_step: OnStep | None = None,
    should_stop: ShouldStop | None = None,
) -> Outcome:
    """Trains a vector and weighs it against the cloud model.

    Args:
      engine: the model.
      rows: all N rows, oldest first.
      heldout: [N] bool, True for rows that are not trained on.
      start: vector and optimiser state to go on from.
      anchor: [K] that `pull` draws towards.
      profile: [P] int32.
      config: every value filled in but `patience`.
      on_step: called after every step.
      should_stop: asked before every step; what was trained until then is weighed like a whole epoch.

    Returns:
      The vector with the lowest held-out loss among those after each epoch, and `start` if it had been trained
      before; without held-out rows the newest, with gate 0. If a loss or a state is not sound, training ends there
      and that epoch does not count.
    """
    began = time.perf_counter()
    training, heldout = np.flatnonzero(~heldout), np.flatnonzero(heldout)
    rows = encode(engine, rows, profile)
    pull = float(np.float32(config.pull / max(1, len(training))))
    schedule = training_schedule(len(training), engine.manifest.train_batch, config.epochs, config.seed)
    cloud_loss = heldout_loss(engine, rows, heldout, start, gate=0.0)
    best, best_loss, best_epoch = start, math.inf, None
    if len(heldout) and start.step[0] > 0:
        best_loss = _or_inf(heldout_loss(engine, rows, heldout, start, gate=1.0))
    state, steps, losses, heldout_losses = start, 0, [], []
    stopped = "finished" if len(training) else "no samples"
    failure = None
    for epoch, order in enumerate(schedule if len(training) else ()):
        batch_losses = []
        for step, chosen in enumerate(order):
            if should_stop is not None and should_stop():
                stopped = "should_stop"
                break
            batch = rows.batch(np.where(chosen >= 0, training[chosen], -1))
            loss, state = engine.train(state, batch, config.learning_rate, anchor, pull)
            if not (math.isfinite(loss) and state.sound):
                stopped, failure = "diverged", steps
                break
            steps += 1
            batch_losses.append(loss * batch.weights.sum())
            if on_step is not None:
                on_step(epoch, step, loss)
        if failure is not None or not batch_losses:
            break
        losses.append(float(np.sum(batch_losses) / (order[: len(batch_losses)] >= 0).sum()))
        if len(heldout):
            heldout_losses.append(_or_inf(heldout_loss(engine, rows, heldout, state, gate=1.0)))
        if not len(heldout) or heldout_losses[-1] < best_loss:
            best, best_epoch = state, epoch
            best_loss = heldout_losses[-1] if len(heldout) else best_loss
        elif config.patience is not None and epoch - (-1 if best_epoch is None else best_epoch) >= config.patience:
            stopped = "patience"
        if stopped != "finished":
            break
    personal_loss = best_loss if math.isfinite(best_loss) else None
    evidence = Evidence(len(heldout), cloud_loss, personal_loss)
    gate = decide_gate(evidence, config.gate_margin)
    report = Report(
        stopped=stopped,
        samples=len(training),
        heldout_samples=len(heldout),
        steps=steps,
        losses=tuple(losses),
        heldout_losses=tuple(heldout_losses),
        best_epoch=best_epoch,
        cloud_loss=cloud_loss,
        personal_loss=personal_loss,
        gate=gate,
        seconds=time.perf_counter() - began,
        step_of_failure=failure,
    )
    return Outcome(best, evidence, gate, report)


def decide_gate(evidence: Evidence, margin: float) -> float:
    """1 if the personal model beat the cloud model by more than the margin on held-out rows, else 0; no rows, no
    evidence, 0."""
    if evidence.cloud_loss is None or evidence.personal_loss is None:
        return 0.0
    return float(evidence.personal_loss < evidence.cloud_loss - margin)


def held_out_evidence(
    engine: Engine, rows: Rows, heldout: np.ndarray, state: VectorState, profile: np.ndarray
) -> Evidence:
    """What the held-out rows ([N] bool) say of a vector that is not being trained."""
    chosen = np.flatnonzero(heldout)
    encoded = encode(engine, rows, profile)
    cloud, personal = (heldout_loss(engine, encoded, chosen, state, gate) for gate in (0.0, 1.0))
    return Evidence(len(chosen), cloud, personal if personal is not None and math.isfinite(personal) else None)


def heldout_loss(
    engine: Engine, rows: EncodedRows, chosen: np.ndarray, state: VectorState, gate: float
) -> float | None:
    """Mean log loss of the rows `chosen`; None if there are none."""
    if not len(chosen):
        return None
    width, total = engine.manifest.train_batch, 0.0
    for begin in range(0, len(chosen), width):
        part = chosen[begin : begin + width]
        batch = rows.batch(np.pad(part, (0, width - len(part)), constant_values=-1))
        logits = engine.evaluate(state, batch.hidden, gate)[: len(part)]
        total += float(log_loss(logits, batch.labels[: len(part)]).sum())
    return total / len(chosen)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Binary cross-entropy on logits, in nats, element by element; stable for any logit."""
    logits = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # an infinite logit gives NaN, which the caller looks for
        return np.maximum(logits, 0.0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))


def _or_inf(loss: float | None) -> float:
    return loss if loss is not None and math.isfinite(loss) else math.inf

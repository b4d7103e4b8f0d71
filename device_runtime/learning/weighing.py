"""Weighs a vector against the cloud model on held-out rows: the losses, and the gate that follows."""

import math

import numpy as np

from device_runtime.interpreter.engine import Engine, VectorState
from device_runtime.learning.encoded import EncodedRows
from device_runtime.state.device_state import Evidence


def decide_gate(evidence: Evidence, margin: float) -> float:
    """1 if the personal model beat the cloud model by more than the margin on held-out rows, else 0; no rows, no
    evidence, 0."""
    if evidence.cloud_loss is None or evidence.personal_loss is None:
        return 0.0
    return float(evidence.personal_loss < evidence.cloud_loss - margin)


def evidence_of(engine: Engine, rows: EncodedRows, heldout: np.ndarray, state: VectorState) -> Evidence:
    """What the rows of the numbers `heldout` say of a vector that is not being trained."""
    cloud, personal = (heldout_loss(engine, rows, heldout, state, gate) for gate in (0.0, 1.0))
    return Evidence(len(heldout), cloud, finite(personal))


def heldout_loss(
    engine: Engine, rows: EncodedRows, heldout: np.ndarray, state: VectorState, gate: float
) -> float | None:
    """Mean log loss of the rows of the numbers `heldout`; None if there are none."""
    if not len(heldout):
        return None
    width, total = engine.manifest.train_batch, 0.0
    for begin in range(0, len(heldout), width):
        part = heldout[begin : begin + width]
        hidden = np.zeros((width, rows.hidden.shape[1]), np.float32)
        hidden[: len(part)] = rows.hidden[part]
        logits = engine.evaluate(state, hidden, gate)[: len(part)]
        total += float(log_loss(logits, rows.labels[part]).sum())
    return total / len(heldout)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Binary cross-entropy on logits, in nats, element by element; stable for any logit."""
    logits = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # an infinite logit gives NaN, which the caller looks for
        return np.maximum(logits, 0.0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))


def finite(loss: float | None) -> float | None:
    """The loss, or None if there is none or it is not finite."""
    return loss if loss is not None and math.isfinite(loss) else None

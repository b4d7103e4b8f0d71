"""From a device's log to a trained vector, or to the evidence for one that came from elsewhere."""

from dataclasses import dataclass

import numpy as np

from device_runtime.bundle import Bundle
from device_runtime.engine import Engine, VectorState
from device_runtime.personalize import (
    OnStep,
    Outcome,
    PersonalizeConfig,
    ShouldStop,
    decide_gate,
    held_out_evidence,
    train,
)
from device_runtime.rows import Rows, encode_rows
from device_runtime.samples import SampleLog
from device_runtime.schedule import heldout_rows
from device_runtime.state import DeviceState, Evidence


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
        config: PersonalizeConfig | None = None,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Outcome:
        """Trains on from a state, for a profile [P] int32; nothing is stored."""
        config = self.settings(config)
        rows, heldout = self.rows(config)
        return train(self.engine, rows, heldout, state.current, state.anchor, profile, config, on_step, should_stop)

    def weigh(self, current: VectorState, profile: np.ndarray) -> tuple[Evidence, float]:
        """A vector's evidence on the newest rows, and the gate that follows, by the bundle's defaults."""
        config = self.settings(None)
        rows, heldout = self.rows(config)
        evidence = held_out_evidence(self.engine, rows, heldout, current, profile)
        return evidence, decide_gate(evidence, config.gate_margin)

    def settings(self, config: PersonalizeConfig | None) -> PersonalizeConfig:
        """The settings with the manifest's defaults filled in."""
        return (config or PersonalizeConfig()).with_defaults(self.bundle.manifest.training)

    def rows(self, config: PersonalizeConfig) -> tuple[Rows, np.ndarray]:
        """All N rows of the log, and which of them are held out, [N] bool."""
        length = self.bundle.manifest.history_length
        rows = encode_rows(self.log.read(), self.bundle.vocabulary, length, config.negatives, config.seed)
        return rows, heldout_rows(rows.at, config.heldout_fraction)

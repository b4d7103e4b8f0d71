"""The device's state file: its vector and what belongs to it, a few hundred bytes, always the old one or the new.

A record (record.py) of the magic "DCCLDEV\\0" and float32 [4, K]: vector, first moment, second moment, anchor.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.errors import StateError
from device_runtime.interpreter.engine import VectorState
from device_runtime.state.files import read_file, replace_file
from device_runtime.state.record import pack, typed, unpack

MAGIC = b"DCCLDEV\0"
SCHEMA = 1


@dataclass(frozen=True)
class Evidence:
    """What the held-out rows said when the gate was set. Losses are mean log losses, None without such rows."""

    heldout_samples: int = 0
    cloud_loss: float | None = None  # gate 0
    personal_loss: float | None = None  # gate 1


@dataclass(frozen=True)
class DeviceState:
    """All that a device remembers besides its log."""

    bundle: bytes  # identity of the bundle that the vector belongs to
    current: VectorState
    anchor: np.ndarray  # [K], what `init` or `rebase` gave
    gate: float = 0.0
    sequence: int = 0  # of the newest upload
    samples: int = 0  # rows that the vector was trained on
    evidence: Evidence = field(default_factory=Evidence)
    profile: dict[str, Any] = field(default_factory=dict)
    opening: str = "first"  # how the vector came to this bundle: first, rebase, keep, reset or rollback
    previous_bundle: bytes = b""

    def summary(self) -> dict[str, Any]:
        """The state in plain types, for people and JSON."""
        return {
            "bundle": self.bundle.hex(),
            "opening": self.opening,
            "previous_bundle": self.previous_bundle.hex(),
            "vector": [float(value) for value in self.current.vector],
            "steps": int(self.current.step[0]),
            "gate": self.gate,
            "samples_trained": self.samples,
            "sequence": self.sequence,
            "profile": dict(self.profile),
            **asdict(self.evidence),
        }

    def to_bytes(self) -> bytes:
        arrays = [self.current.vector, self.current.first_moment, self.current.second_moment, self.anchor]
        facts = {
            "bundle": self.bundle.hex(),
            "step": float(self.current.step[0]),
            "gate": self.gate,
            "sequence": self.sequence,
            "samples": self.samples,
            "evidence": asdict(self.evidence),
            "profile": self.profile,
            "opening": self.opening,
            "previous_bundle": self.previous_bundle.hex(),
        }
        return pack(MAGIC, SCHEMA, facts, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> "DeviceState":
        """Raises StateError if the bytes are not a whole state of this schema."""
        facts, arrays = unpack(content, MAGIC, SCHEMA, 4)
        try:
            return cls._of(facts, arrays)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StateError(f"damaged: it does not hold what a state holds ({error})") from error

    @classmethod
    def _of(cls, facts: dict[str, Any], arrays: list[np.ndarray]) -> "DeviceState":
        if not np.isfinite(arrays).all():
            raise ValueError("a value is not finite")
        vector, first, second, anchor = arrays
        step = np.array([facts.pop("step")], np.float32)
        bundle, previous = (bytes.fromhex(facts.pop(name)) for name in ("bundle", "previous_bundle"))
        return typed(
            cls,
            facts,
            bundle=bundle,
            previous_bundle=previous,
            evidence=typed(Evidence, facts.pop("evidence")),
            current=VectorState(vector, first, second, step),
            anchor=anchor,
        )


def load_state(path: Path) -> DeviceState | None:
    """The stored state; None if there is none.

    Raises:
      StateError: the file is damaged or of another schema.
      StorageError: it cannot be read.
    """
    content = read_file(path)
    if content is None:
        return None
    try:
        return DeviceState.from_bytes(content)
    except StateError as error:
        raise StateError(f"{path}: {error}; open the device with on_damage='reset' to begin afresh") from error


def save_state(path: Path, state: DeviceState) -> None:
    """Replaces the state; a crash at any moment leaves the old or the new one. Raises StorageError."""
    replace_file(path, state.to_bytes())

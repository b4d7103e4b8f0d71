"""What an interrupted personalisation leaves in the state folder, so that the next one goes on where it stopped.

A checkpoint fits one training alone: the same bundle, settings, rows and profile, and a device whose vector is still
the one that the training began at or left in use. Whatever else it is, it is dropped with a reason and never an error,
since all that is lost with it is time.

A record (record.py) of the magic "DCCLCKP\\0" and float32 [6, K]: vector, first and second moment after the newest
step, and the same of what is kept so far.
"""

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.errors import StateError
from device_runtime.interpreter.engine import VectorState
from device_runtime.state.files import read_file, remove_file, replace_file
from device_runtime.state.record import pack, typed, unpack

MAGIC = b"DCCLCKP\0"
SCHEMA = 1
_STATES = ("current", "best")


@dataclass(frozen=True)
class Task:
    """What is trained, as far as two trainings must agree to be the same one."""

    bundle: str  # identity, hex
    settings: dict[str, Any]  # all but the budget
    newest: int  # number of the newest row of the log
    rows: str  # SHA-256 of rows and profile, hex

    def differs(self, other: "Task") -> str | None:
        """What is not the same, in words; None if all is."""
        parts = {
            "bundle": "another bundle",
            "settings": "other settings",
            "newest": "another log",
            "rows": "another log or profile",
        }
        return next((what for name, what in parts.items() if getattr(self, name) != getattr(other, name)), None)


@dataclass(frozen=True)
class Progress:
    """Where a training stands between two steps."""

    current: VectorState
    best: VectorState  # what is kept so far
    best_loss: float | None = None  # held-out, of `best` with gate 1; None: nothing competes yet
    best_epoch: int | None = None  # None: `best` is the vector from before
    cloud_loss: float | None = None  # held-out, gate 0; None without such rows
    epoch: int = 0  # whole epochs done
    step: int = 0  # steps done of the next one
    steps: int = 0  # steps done in all
    epoch_loss: float = 0.0  # sum over the rows of these steps, each before its step
    losses: tuple[float, ...] = ()  # mean of each whole epoch
    heldout_losses: tuple[float, ...] = ()  # after each whole epoch, gate 1; infinite where not finite


@dataclass(frozen=True)
class Checkpoint:
    """A task and how far it has come."""

    task: Task
    fits: tuple[
        str, ...
    ]  # fingerprints of the vectors that the device may have in use: the start, the newest ones left
    progress: Progress

    def left(self, fingerprint: str) -> "Checkpoint":
        """The same with one more vector that the device may have in use: should it die before that is stored, it
        has the one before."""
        return replace(self, fits=(self.fits[0], *self.fits[1:][-1:], fingerprint))

    def to_bytes(self) -> bytes:
        states = [getattr(self.progress, name) for name in _STATES]
        facts = {
            "task": asdict(self.task),
            "fits": self.fits,
            "steps": [float(state.step[0]) for state in states],
            "progress": {f.name: getattr(self.progress, f.name) for f in fields(Progress) if f.name not in _STATES},
        }
        return pack(MAGIC, SCHEMA, facts, [part for state in states for part in state[:3]])

    @classmethod
    def from_bytes(cls, content: bytes) -> "Checkpoint":
        """Raises StateError if the bytes are not a whole checkpoint of this schema."""
        facts, arrays = unpack(content, MAGIC, SCHEMA, 3 * len(_STATES))
        try:
            steps = [np.array([step], np.float32) for step in facts["steps"]]
            states = [VectorState(*arrays[3 * i : 3 * i + 3], step) for i, step in enumerate(steps)]
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in facts["progress"].items()}
            progress = typed(Progress, values, **dict(zip(_STATES, states, strict=True)))
            return cls(typed(Task, facts["task"]), tuple(facts["fits"]), progress)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StateError(f"damaged: it does not hold what a checkpoint holds ({error})") from error


class CheckpointFile:
    """The one checkpoint of a device."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Checkpoint | None:
        """The checkpoint; None if there is none. Raises StateError or StorageError: why it is of no use."""
        content = read_file(self.path)
        return None if content is None else Checkpoint.from_bytes(content)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint; a crash leaves the old or the new one. Raises StorageError."""
        replace_file(self.path, checkpoint.to_bytes())

    def clear(self) -> None:
        """Removes it. Raises StorageError."""
        remove_file(self.path)


def fingerprint(state: VectorState, anchor: np.ndarray) -> str:
    """Of all of a device's state that a training depends on; hex."""
    return hashlib.sha256(b"".join(part.tobytes() for part in (*state, anchor))).hexdigest()

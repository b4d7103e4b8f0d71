"""A device's state folder: who the device is, its key, its state, its log, and a lock so that one process owns it.

device.*       who the device is: its id and key (identity.py)
bundle.given   identity of the bundle that an opening gave last
state.bin      the vector and what belongs to it (device_state.py): the bundle that it names is the one in use
training.bin   where an interrupted personalisation goes on (checkpoint.py)
samples.sqlite the log, the events and the uploads that wait (log/database.py)
bundles/       copies of the bundle in use and the one before it (bundle_store.py)
lock           held while a `Device` is open
"""

import os
from pathlib import Path

from device_runtime.errors import InputError, StateError, StorageError
from device_runtime.log.database import Database
from device_runtime.log.events import EventLog
from device_runtime.log.outbox import Outbox
from device_runtime.log.samples import LogLimits, SampleLog
from device_runtime.state.bundle_store import BundleStore
from device_runtime.state.checkpoint import CheckpointFile
from device_runtime.state.device_state import DeviceState, load_state, save_state
from device_runtime.state.file_lock import FileLock, HeldError
from device_runtime.state.files import read_file, remove_file, replace_file
from device_runtime.state.identity import Identity

STATE = "state.bin"
_SEQUENCE = "upload_sequence"


class StateFolder:
    """The folder of one device, locked until `close`."""

    def __init__(self, path: str | Path, on_damage: str = "error", limits: LogLimits | None = None) -> None:
        """Opens or creates the folder.

        Args:
          path: the folder.
          on_damage: "error", or "reset" to set a damaged file aside (its name gets ".damaged") and begin afresh.
          limits: bounds of the log.

        Raises:
          StateError: another process has it open, or a file is damaged.
          StorageError: it cannot be created or written.
        """
        if not isinstance(on_damage, str) or on_damage not in ("error", "reset"):
            raise InputError(f"on_damage: expected error or reset, got {on_damage!r}")
        self.path = Path(path)
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            self._lock = FileLock(self.path / "lock")
        except HeldError as error:
            raise StateError(
                f"{self.path}: another device object or process has this state folder open; close it first"
            ) from error
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be used as a state folder ({error.strerror})") from error
        self.damaged: list[str] = []  # files that were set aside
        try:
            self.database = self._open_database(on_damage)
            try:
                self.state = self._load_state(on_damage)
            except BaseException:
                self.database.close()
                raise
        except BaseException:
            self._lock.close()
            raise
        self.identity = Identity(self.path)
        self.samples = SampleLog(self.database, limits)
        self.events = EventLog(self.database)
        self.outbox = Outbox(self.database)
        self.bundles = BundleStore(self.path / "bundles")
        self.checkpoint = CheckpointFile(self.path / "training.bin")

    def save(self, state: DeviceState) -> None:
        """Makes a state the stored one. Raises StorageError; the previous state is then intact."""
        save_state(self.path / STATE, state)
        self.state = state

    @property
    def sequence(self) -> int:
        """Number of the newest upload, from the state or from the log, whichever survived."""
        return max(self.state.sequence if self.state else 0, self.database.counter(_SEQUENCE))

    def save_sequence(self, sequence: int) -> None:
        """A second copy of the upload's number, so that a lost state does not make the cloud refuse what follows."""
        self.database.raise_counter(_SEQUENCE, sequence)

    @property
    def given(self) -> bytes:
        """Identity of the bundle that an opening gave last; empty if none did."""
        return read_file(self.path / "bundle.given") or b""

    @given.setter
    def given(self, identity: bytes) -> None:
        replace_file(self.path / "bundle.given", identity)

    def tidy_bundles(self) -> None:
        """Removes all copies of bundles but that of the one in use and of the one before it."""
        self.bundles.keep(*((self.state.bundle, self.state.previous_bundle) if self.state else ()))

    def forget_user(self) -> None:
        """Erases the states in which other bundles were left, what a kill or damage left behind, the log, the events
        and the uploads; counters stay, so that upload numbers go on.

        Files first, which a full disk lets go and which make room for the rest.

        Raises:
          StorageError: something could not be erased.
        """
        for pattern in ("*.damaged", "*.new", f"bundles/*/{STATE}*"):
            for file in self.path.glob(pattern):
                remove_file(file)
        self.database.erase("samples", "history", "met", "events", "uploads")

    def close(self) -> None:
        self.database.close()
        self._lock.close()

    def _open_database(self, on_damage: str) -> Database:
        file = self.path / "samples.sqlite"
        try:
            return Database(file)
        except StateError:
            if on_damage == "error":
                raise
            for name in ("samples.sqlite", "samples.sqlite-wal", "samples.sqlite-shm"):
                self._set_aside(name)
            return Database(file)

    def _load_state(self, on_damage: str) -> DeviceState | None:
        try:
            return load_state(self.path / STATE)
        except StateError:
            if on_damage == "error":
                raise
            self._set_aside(STATE)
            return None

    def _set_aside(self, name: str) -> None:
        if (self.path / name).exists():
            os.replace(self.path / name, self.path / f"{name}.damaged")
            self.damaged.append(name)

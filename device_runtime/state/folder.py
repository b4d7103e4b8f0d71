"""A device's state folder: who the device is, its key, its state, its log, and a lock so that one process owns it.

device.id      opaque id, text
device.key     32 bytes that the cloud gave at registration, readable by the owner alone
bundle.given   identity of the bundle that an opening gave last
state.bin      the vector and what belongs to it (device_state.py): the bundle that it names is the one in use
training.bin   where an interrupted personalisation goes on (checkpoint.py)
samples.sqlite the log, the events and the uploads that wait (log/database.py)
bundles/       copies of the bundle in use and the one before it (bundle_store.py)
lock           held while a `Device` is open
"""

import os
import secrets
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
from protos.signing import KEY_BYTES

STATE = "state.bin"
_SEQUENCE = "upload_sequence"
_LONGEST_ID = 128  # characters


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
    def device_id(self) -> str | None:
        """The stored id; None where there is none yet. Raises StateError if it is damaged."""
        file = self.path / "device.id"
        try:
            stored = (read_file(file) or b"").decode().strip()
            damaged = bool(stored) and not _is_id(stored)
        except UnicodeDecodeError:
            damaged = True
        if damaged:
            raise StateError(f"{file}: damaged; write the device's id into it, or remove it for a new one")
        return stored or None

    def identify(self, device_id: str | None) -> str:
        """The device's id: the stored one, else the given one, else a new random one; then stored.

        Raises:
          InputError: the given one is not 1 to 128 printable characters.
          StateError: the folder belongs to a device of another id, or the stored one is damaged.
        """
        check_device_id(device_id)
        if stored := self.device_id:
            if device_id not in (None, stored):
                raise StateError(
                    f"device_id: expected {stored!r}, to which {self.path} belongs, got {device_id!r}; "
                    "use another state folder"
                )
            return stored
        chosen = device_id or secrets.token_hex(16)
        replace_file(self.path / "device.id", chosen.encode())
        return chosen

    def key(self, key: bytes | None) -> bytes | None:
        """The device's key: the given one, which is then stored, else the stored one, else None.

        Raises:
          InputError: the given key is not 32 bytes.
          StateError: the stored one is not.
        """
        file = self.path / "device.key"
        stored = read_file(file)
        if key is None:
            if stored is not None and len(stored) != KEY_BYTES:
                raise StateError(f"{file}: damaged ({len(stored)} bytes); open the device once with key=")
            return stored
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise InputError(f"key: expected {KEY_BYTES} bytes from the cloud's registration, got {_described(key)}")
        if stored != key:
            replace_file(file, key)
        return key

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


def check_device_id(device_id: str | None) -> None:
    """Raises InputError unless it is None or what the cloud takes for an id."""
    if device_id is not None and not _is_id(device_id):
        raise InputError(f"device_id: expected 1 to {_LONGEST_ID} printable characters, got {device_id!r}")


def _is_id(value: object) -> bool:
    """The cloud's rule for the id of a device."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable() and value == value.strip()


def _described(key: object) -> str:
    return f"{len(key)} bytes" if isinstance(key, (bytes, bytearray)) else type(key).__name__

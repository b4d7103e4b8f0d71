"""A device's state folder: who the device is, its key, its state, its log, and a lock so that one process owns it.

device.id      opaque id, text
device.key     32 bytes that the cloud gave at registration, readable by the owner alone
state.bin      the vector and what belongs to it (state.py)
samples.sqlite the log (samples.py)
lock           held while a `Device` is open
"""

import os
import secrets
import sys
from pathlib import Path

from device_runtime.errors import InputError, StateError, StorageError
from device_runtime.samples import SampleLog
from device_runtime.state import DeviceState, load_state, replace_file, save_state
from protos.signing import KEY_BYTES

_SEQUENCE = "upload_sequence"


class StateFolder:
    """The folder of one device, locked until `close`."""

    def __init__(self, path: str | Path, on_damage: str = "error") -> None:
        """Opens or creates the folder.

        Args:
          path: the folder.
          on_damage: "error", or "reset" to set a damaged file aside (its name gets ".damaged") and begin afresh.

        Raises:
          StateError: another process has it open, or a file is damaged.
          StorageError: it cannot be created or written.
        """
        if on_damage not in ("error", "reset"):
            raise InputError(f"on_damage: expected error or reset, got {on_damage!r}")
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _Lock(self.path / "lock")
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be used as a state folder ({error.strerror})") from error
        self.damaged: list[str] = []  # files that were set aside
        try:
            self.samples = self._open_samples(on_damage)
            try:
                self.state = self._load_state(on_damage)
            except BaseException:
                self.samples.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def save(self, state: DeviceState) -> None:
        """Makes a state the stored one. Raises StorageError; the previous state is then intact."""
        save_state(self.path / "state.bin", state)
        self.state = state

    @property
    def sequence(self) -> int:
        """Number of the newest upload, from the state or from the log, whichever survived."""
        return max(self.state.sequence if self.state else 0, self.samples.counter(_SEQUENCE))

    def save_sequence(self, sequence: int) -> None:
        """A second copy of the upload's number, so that a lost state does not make the cloud refuse what follows."""
        self.samples.raise_counter(_SEQUENCE, sequence)

    def identify(self, device_id: str | None) -> str:
        """The device's id: the stored one, else the given one, else a new random one; then stored.

        Raises:
          InputError: the given one is empty or not a string.
          StateError: the folder belongs to a device of another id.
        """
        if device_id is not None and (not isinstance(device_id, str) or not device_id.strip()):
            raise InputError(f"device_id: expected a string that is not empty, got {device_id!r}")
        file = self.path / "device.id"
        stored = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        if stored:
            if device_id not in (None, stored):
                raise StateError(
                    f"device_id: expected {stored!r}, to which {self.path} belongs, got {device_id!r}; "
                    "use another state folder"
                )
            return stored
        chosen = device_id or secrets.token_hex(16)
        replace_file(file, chosen.encode())
        return chosen

    def key(self, key: bytes | None) -> bytes | None:
        """The device's key: the given one, which is then stored, else the stored one, else None.

        Raises:
          InputError: the given key is not 32 bytes.
        """
        file = self.path / "device.key"
        if key is None:
            return file.read_bytes() if file.exists() else None
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise InputError(f"key: expected {KEY_BYTES} bytes from the cloud's registration, got {_described(key)}")
        if not file.exists() or file.read_bytes() != key:
            replace_file(file, key)
        return key

    def close(self) -> None:
        self.samples.close()
        self._lock.close()

    def _open_samples(self, on_damage: str) -> SampleLog:
        file = self.path / "samples.sqlite"
        try:
            return SampleLog(file)
        except StateError:
            if on_damage == "error":
                raise
            for name in ("samples.sqlite", "samples.sqlite-wal", "samples.sqlite-shm"):
                self._set_aside(name)
            return SampleLog(file)

    def _load_state(self, on_damage: str) -> DeviceState | None:
        try:
            return load_state(self.path / "state.bin")
        except StateError:
            if on_damage == "error":
                raise
            self._set_aside("state.bin")
            return None

    def _set_aside(self, name: str) -> None:
        if (self.path / name).exists():
            os.replace(self.path / name, self.path / f"{name}.damaged")
            self.damaged.append(name)


def _described(key: object) -> str:
    return f"{len(key)} bytes" if isinstance(key, (bytes, bytearray)) else type(key).__name__


class _Lock:
    """An open file whose lock the operating system drops when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "a+b")  # noqa: SIM115 (held open for as long as the lock lasts)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            raise StateError(
                f"{path.parent}: another device object or process has this state folder open; close it first"
            ) from error

    def close(self) -> None:
        self.file.close()

"""Who a device is, in its state folder.

device.id       opaque id, text
device.key      32 bytes that the cloud gave at registration, readable by the owner alone
device.key.next the key that it changes to, until the cloud has said that it counts
"""

import secrets
from pathlib import Path

from device_runtime.errors import InputError, StateError
from device_runtime.state.files import move_file, read_file, remove_file, replace_file
from protos.signing import KEY_BYTES

_LONGEST_ID = 128  # characters


class Identity:
    """A device's id and key; the folder is locked by whoever uses this."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._id_file, self._key_file = folder / "device.id", folder / "device.key"
        self._next_key_file = folder / "device.key.next"

    @property
    def device_id(self) -> str | None:
        """The stored id; None where there is none yet. Raises StateError if it is damaged."""
        try:
            stored = (read_file(self._id_file) or b"").decode().strip()
            damaged = bool(stored) and not is_id(stored)
        except UnicodeDecodeError:
            damaged = True
        if damaged:
            raise StateError(f"{self._id_file}: damaged; write the device's id into it, or remove it for a new one")
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
                    f"device_id: expected {stored!r}, to which {self._folder} belongs, got {device_id!r}; "
                    "use another state folder"
                )
            return stored
        chosen = device_id or secrets.token_hex(16)
        replace_file(self._id_file, chosen.encode())
        return chosen

    def rename(self, device_id: str) -> None:
        """Gives the device the id that comes with a key; without a key nobody has met it under another one. Raises
        StorageError."""
        replace_file(self._id_file, device_id.encode())

    def key(self, key: bytes | None) -> bytes | None:
        """The device's key: the given one, which is then stored, else the stored one, else None.

        Raises:
          InputError: the given key is not 32 bytes.
          StateError: the stored one is not.
        """
        stored = read_file(self._key_file)
        if key is None:
            if stored is not None and len(stored) != KEY_BYTES:
                raise StateError(f"{self._key_file}: damaged ({len(stored)} bytes); open the device once with key=")
            return stored
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise InputError(f"key: expected {KEY_BYTES} bytes from the cloud's registration, got {_described(key)}")
        if stored != key:
            replace_file(self._key_file, key)
        return key

    @property
    def is_changing_key(self) -> bool:
        """Whether a change of the key has no answer yet, so that nobody here knows which of the two the cloud takes."""
        return self._next_key_file.exists()

    def next_key(self) -> bytes:
        """The key to change to: the one that was chosen before, else a new one; then stored."""
        stored = read_file(self._next_key_file)
        if stored is not None and len(stored) == KEY_BYTES:
            return stored
        chosen = secrets.token_bytes(KEY_BYTES)
        replace_file(self._next_key_file, chosen)
        return chosen

    def finish_key_change(self) -> None:
        """Makes the key that was changed to the only one. Raises StorageError; both are then kept."""
        move_file(self._next_key_file, self._key_file)

    def drop_key_change(self) -> None:
        """Keeps the key as it is. Raises StorageError."""
        remove_file(self._next_key_file)


def check_device_id(device_id: str | None) -> None:
    """Raises InputError unless it is None or what the cloud takes for an id."""
    if device_id is not None and not is_id(device_id):
        raise InputError(f"device_id: expected 1 to {_LONGEST_ID} printable characters, got {device_id!r}")


def is_id(value: object) -> bool:
    """The cloud's rule for the id of a device."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable() and value == value.strip()


def _described(key: object) -> str:
    return f"{len(key)} bytes" if isinstance(key, (bytes, bytearray)) else type(key).__name__

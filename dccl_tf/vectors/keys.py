"""Devices' keys at rest. A MAC needs the key itself, so a hash will not do: keys are encrypted under a server secret.

A sealed key is 64 bytes: 4 that name the secret, 12 of nonce, 48 of AES-256-GCM over the key, bound to the device's
id so that keys cannot change places. A store without a vault keeps the 32 bytes as they are: enough for simulations.
"""

import hashlib
import secrets
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from dccl_tf.vectors.private_files import private_file
from protos.signing import KEY_BYTES

SECRET_BYTES = 32
NAME_BYTES, NONCE_BYTES = 4, 12
SEALED_BYTES = NAME_BYTES + NONCE_BYTES + KEY_BYTES + 16  # with the tag


class KeyChangedError(ValueError):
    """The bytes of one stored key are not what was sealed; other keys are unharmed."""


class KeyVault:
    """Seals and opens devices' keys."""

    def __init__(self, server_secrets: Iterable[bytes] = ()) -> None:
        """Creates a vault.

        Args:
          server_secrets: 32 bytes each; the first seals, all of them open. Without any, keys stay as they are.

        Raises:
          ValueError: a secret is not as above.
        """
        self._secrets = list(server_secrets)
        for secret in self._secrets:
            if len(secret) != SECRET_BYTES:
                raise ValueError(f"secret: expected {SECRET_BYTES} bytes, got {len(secret)}")

    @classmethod
    def from_file(cls, path: str | Path) -> "KeyVault":
        """A vault of the secrets in a file, one a line in hexadecimal, the newest first; a new file if there is none.

        Raises:
          ValueError: the file holds anything else.
          OSError: it cannot be read or made.
        """
        return cls(read_secrets(path))

    @cached_property
    def _ciphers(self) -> dict[bytes, Any]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return {_name(secret): AESGCM(secret) for secret in self._secrets}

    def seal(self, key: bytes, device_id: str) -> bytes:
        """What to store for a device's key."""
        if not self._secrets:
            return key
        name, nonce = _name(self._secrets[0]), secrets.token_bytes(NONCE_BYTES)
        return name + nonce + self._ciphers[name].encrypt(nonce, key, device_id.encode())

    def open(self, stored: bytes, device_id: str) -> bytes:
        """The key that was sealed.

        Raises:
          ValueError: the secret that it was sealed under is not in this vault.
          KeyChangedError: the stored bytes were changed.
        """
        if len(stored) == KEY_BYTES:
            return stored
        changed = f"key: the stored key of {device_id!r} was changed; remove the device"
        if len(stored) != SEALED_BYTES:
            raise KeyChangedError(changed)
        name = stored[:NAME_BYTES]
        if not self.has_secret(name):
            raise ValueError(missing_secret(name, f"the key of {device_id!r} is"))
        from cryptography.exceptions import InvalidTag

        nonce = stored[NAME_BYTES : NAME_BYTES + NONCE_BYTES]
        try:
            return self._ciphers[name].decrypt(nonce, stored[NAME_BYTES + NONCE_BYTES :], device_id.encode())
        except InvalidTag as error:
            raise KeyChangedError(changed) from error

    def has_secret(self, name: bytes) -> bool:
        """Whether the secret with which sealed keys begin so is in this vault."""
        return bool(self._secrets) and name in self._ciphers

    def is_current(self, stored: bytes) -> bool:
        """Whether a stored key is sealed under the newest secret, as `seal` would seal it now."""
        if not self._secrets:
            return len(stored) == KEY_BYTES
        return len(stored) != KEY_BYTES and stored[:NAME_BYTES] == _name(self._secrets[0])


def missing_secret(name: bytes, keys: str) -> str:
    """What to tell where a secret is not in a vault; `keys` says whose keys are sealed under it."""
    return (
        f"secrets: {keys} sealed under the secret {name.hex()}, which is not among those given; add it to the secret "
        "file, or remove a device whose key was damaged"
    )


def read_secrets(path: str | Path) -> list[bytes]:
    """Secrets of a file, one a line in hexadecimal; a file that is absent is made with one, for its owner's eyes alone.

    Raises:
      ValueError: the file holds anything else.
      OSError: it cannot be read or made.
    """
    content = private_file(path, lambda: secrets.token_hex(SECRET_BYTES))
    try:
        found = [bytes.fromhex(line) for line in content.split()]
    except ValueError as error:
        raise ValueError(f"{path}: expected secrets in hexadecimal, one a line ({error})") from error
    if not found or any(len(secret) != SECRET_BYTES for secret in found):
        raise ValueError(f"{path}: expected at least one line of {2 * SECRET_BYTES} hexadecimal digits each")
    return found


def _name(secret: bytes) -> bytes:
    return hashlib.sha256(b"name of the secret" + secret).digest()[:NAME_BYTES]

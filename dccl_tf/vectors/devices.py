"""Devices: their keys, and what each has uploaded so far. Functions on a connection of the store."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sql

from dccl_tf.vectors.keys import NAME_BYTES, SEALED_BYTES, KeyChangedError, KeyVault, missing_secret
from dccl_tf.vectors.tables import DEVICES, QUARANTINE, VECTORS, device_id_error
from protos.signing import KEY_BYTES

NAMES_AT_ONCE = 500  # in one query; SQLite takes at most 32,766, older ones 999

# Built once: building a statement takes as long as running it.
_AMONG = DEVICES.c.device_id.in_(sql.bindparam("names", expanding=True))
_KEYS = sql.select(DEVICES.c.device_id, DEVICES.c.key).where(_AMONG)
_HISTORIES = (
    sql.select(DEVICES, VECTORS.c.bundle, VECTORS.c.sequence, VECTORS.c.body_hash)
    .outerjoin(VECTORS, VECTORS.c.device_id == DEVICES.c.device_id)
    .where(_AMONG)
)
_SECRET = sql.func.substr(DEVICES.c.key, sql.literal_column("1"), sql.literal_column(str(NAME_BYTES)))
_SECRETS = (
    sql.select(_SECRET, sql.func.count(), sql.func.min(DEVICES.c.device_id))
    .where(sql.func.length(DEVICES.c.key) == SEALED_BYTES)
    .group_by(_SECRET)
)


@dataclass
class DeviceHistory:
    """What a device must not send again."""

    key: bytes  # 32 bytes
    newest: int  # sequence number of its newest accepted upload, 0 before the first
    # By bundle, the number and the SHA-256 of the upload whose vector is in the store.
    uploads: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)


def histories(connection: sql.Connection, vault: KeyVault, names: Iterable[str]) -> dict[str, DeviceHistory]:
    """Those of the devices that are registered; one whose stored key was changed is not.

    Raises:
      ValueError: the secret of a key is missing.
    """
    found: dict[str, DeviceHistory] = {}
    for some in _parts(names):
        for name, stored, pruned, bundle, sequence, body_hash in connection.execute(_HISTORIES, {"names": some}):
            history = found.get(name)
            if history is None:
                try:
                    history = found[name] = DeviceHistory(vault.open(bytes(stored), name), pruned)
                except KeyChangedError:  # its uploads are refused; those that came with them are not
                    continue
            if sequence is not None:
                history.newest = max(history.newest, sequence)
                history.uploads[bytes(bundle)] = (sequence, bytes(body_hash))
    return found


def register(
    connection: sql.Connection, vault: KeyVault, wanted: Mapping[str, bytes | None]
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Registers devices that are not known, with the key given or else a random one.

    Returns:
      The keys of the new ones, and of the known ones as they are stored.

    Raises:
      ValueError: an id or a key is not as it should be.
    """
    for device_id, key in wanted.items():
        if error := device_id_error(device_id):
            raise ValueError(error)
        if key is not None and len(key) != KEY_BYTES:
            raise ValueError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    known = {
        row.device_id: bytes(row.key) for some in _parts(wanted) for row in connection.execute(_KEYS, {"names": some})
    }
    fresh = {name: key or secrets.token_bytes(KEY_BYTES) for name, key in wanted.items() if name not in known}
    if fresh:
        rows = [{"device_id": name, "key": vault.seal(key, name)} for name, key in fresh.items()]
        connection.execute(sql.insert(DEVICES), rows)
    return fresh, known


def missing_secrets(connection: sql.Connection, vault: KeyVault) -> list[str]:
    """What to tell of each secret that keys are sealed under and the vault lacks."""
    return [
        missing_secret(bytes(secret), f"{count:,} of the devices' keys, that of {one!r} among them, are")
        for secret, count, one in connection.execute(_SECRETS)
        if not vault.has_secret(bytes(secret))
    ]


def set_key(connection: sql.Connection, vault: KeyVault, device_id: str, key: bytes) -> None:
    """Gives a registered device another key."""
    connection.execute(
        sql.update(DEVICES).where(DEVICES.c.device_id == device_id).values(key=vault.seal(key, device_id))
    )


def forget(connection: sql.Connection, device_id: str) -> bool:
    """Removes a device, its key, its vectors and its rejected uploads; False if it was not known."""
    for table in (VECTORS, QUARANTINE):
        connection.execute(sql.delete(table).where(table.c.device_id == device_id))
    return bool(connection.execute(sql.delete(DEVICES).where(DEVICES.c.device_id == device_id)).rowcount)


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    names = list(names)
    for first in range(0, len(names), NAMES_AT_ONCE):
        yield names[first : first + NAMES_AT_ONCE]

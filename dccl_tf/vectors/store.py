"""The store of uploaded vectors: devices and their keys, bundles, accepted vectors, quarantine.

SQLAlchemy Core over SQLite by default, in WAL mode and fully synchronous, so that an acknowledged upload survives a
crash. Several processes may write to one store in SQLite or PostgreSQL: each transaction waits for the one before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sql

from dccl_tf.vectors import devices, quarantine
from dccl_tf.vectors.database import open_engine, writing
from dccl_tf.vectors.keys import KeyVault
from dccl_tf.vectors.quarantine import REASONS, Quarantined
from dccl_tf.vectors.statistics import statistics
from dccl_tf.vectors.tables import BUNDLES, DEVICES, IDENTITY_BYTES, VECTORS

DEVICES_AT_ONCE = 1000  # in one transaction of what goes through all of them
ROWS_AT_ONCE = 10_000  # in memory beside the arrays that they become
_NUMBERS = {  # of UploadedVectors, in its order
    "samples": np.int64,
    "gate": np.float32,
    "cloud_loss": np.float64,
    "personal_loss": np.float64,
    "sequence": np.int64,
}


@dataclass(frozen=True)
class UploadedVectors:
    """The newest vector of each of M devices."""

    device_ids: list[str]  # M, sorted
    vectors: np.ndarray  # [M, K] float32
    samples: np.ndarray  # [M] int64
    gates: np.ndarray  # [M] float32, NaN without evidence
    cloud_loss: np.ndarray  # [M] held-out log loss with gate 0, NaN without evidence
    personal_loss: np.ndarray  # [M] the same with gate 1
    sequences: np.ndarray  # [M] int64, the number of the upload: a device's higher one is newer

    def __len__(self) -> int:
        return len(self.device_ids)


class VectorStore:
    """Made by `VectorStore.open`."""

    def __init__(self, engine: sql.Engine, vault: KeyVault) -> None:
        self._engine = engine
        self.vault = vault

    @classmethod
    def open(cls, url: str, vault: KeyVault | None = None, create: bool = True) -> "VectorStore":
        """Opens or creates a store; an older one is brought up to date.

        Args:
          url: of the database, such as "sqlite:///vectors.sqlite" (a file in the working folder),
            "sqlite:////data/vectors.sqlite" (four slashes: a full path) or "postgresql://user@host/name"
            (with `psycopg` installed).
          vault: what seals devices' keys; by default they are stored as they are. A store whose keys are sealed can
            be read without it, but takes no uploads.
          create: whether a file that is not there is made; whoever only reads would rather be told.

        Raises:
          ValueError: `url` is none, or its database cannot be opened.
        """
        return cls(open_engine(url, create), vault or KeyVault())

    @property
    def location(self) -> str:
        """The database's URL, without a password."""
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def begin(self) -> AbstractContextManager[sql.Connection]:
        """A connection whose statements become durable together when the `with` block ends, or none if it raises."""
        return writing(self._engine)

    def reading(self) -> AbstractContextManager[sql.Connection]:
        """A connection for statements that only read; waits for nobody."""
        return self._engine.connect()

    def register_device(self, device_id: str, key: bytes | None = None) -> bytes:
        """The device's 32-byte key: for a new device `key` or else a random one, and the same one ever after.

        Args:
          device_id: opaque, 1 to 128 printable characters.
          key: what the device already holds, if keys are given out elsewhere.

        Raises:
          ValueError: an argument is not as above, or the device is known with another key.
        """
        known = self._keys({device_id: key})[device_id]
        if key not in (None, known):
            raise ValueError(f"key: {device_id!r} is registered with another key; leave `key` out to get that one")
        return known

    def register_devices(self, device_ids: Iterable[str]) -> dict[str, bytes]:
        """Keys of many devices, in one transaction; see `register_device`."""
        return self._keys(dict.fromkeys(device_ids))

    def _keys(self, wanted: dict[str, bytes | None]) -> dict[str, bytes]:
        with self.begin() as connection:
            fresh, known = devices.register(connection, self.vault, wanted)
            return {name: fresh.get(name) or self.vault.open(known[name], name) for name in wanted}

    def check_secrets(self) -> None:
        """Raises ValueError if the vault lacks a secret that a device's key is sealed under."""
        with self.reading() as connection:
            missing = devices.missing_secrets(connection, self.vault)
        if missing:
            raise ValueError("; ".join(missing))

    def forget_device(self, device_id: str) -> bool:
        """Removes a device, its key and its vectors; False if it was not known."""
        with self.begin() as connection:
            return devices.forget(connection, device_id)

    def reseal(self) -> tuple[int, list[str]]:
        """Seals every device's key under the vault's newest secret.

        Returns:
          How many keys were sealed anew, and the devices whose keys cannot be opened and stay as they are.
        """
        unreadable: list[str] = []

        def seal(connection: sql.Connection, rows: Sequence[sql.Row]) -> int:
            sealed = 0
            for name, stored in rows:
                if self.vault.is_current(bytes(stored)):
                    continue
                try:
                    devices.set_key(connection, self.vault, name, self.vault.open(bytes(stored), name))
                    sealed += 1
                except ValueError:  # changed, or of a secret that is not here
                    unreadable.append(name)
            return sealed

        query = sql.select(DEVICES.c.device_id, DEVICES.c.key)
        return sum(self._by_device(query, DEVICES.c.device_id, seal)), unreadable

    def register_bundle(self, identity: bytes, metapatch_length: int) -> None:
        """Makes a bundle known, so that vectors trained on it are accepted; a second time it does nothing.

        Args:
          identity: SHA-256 of its manifest, 32 bytes.
          metapatch_length: K, at least 1.

        Raises:
          ValueError: an argument is not as above, or the bundle is known with another K.
        """
        if len(identity) != IDENTITY_BYTES:
            raise ValueError(f"identity: expected {IDENTITY_BYTES} bytes, got {len(identity)}")
        if metapatch_length < 1:
            raise ValueError(f"metapatch_length: expected at least 1, got {metapatch_length}")
        with self.begin() as connection:
            known = connection.execute(_length_of(identity)).scalar()
            if known is None:
                row = {"identity": identity, "metapatch_length": metapatch_length}
                connection.execute(sql.insert(BUNDLES), row)
            elif known != metapatch_length:
                raise ValueError(
                    f"metapatch_length: bundle {identity.hex()[:16]} is known with {known}, got {metapatch_length}"
                )

    def newest(self, bundle: bytes) -> UploadedVectors:
        """Each device's newest vector that was trained on a bundle; none (K = 0) for a bundle that is not known.

        Args:
          bundle: identity, 32 bytes.
        """
        query = sql.select(VECTORS.c.device_id, VECTORS.c.vector, *(VECTORS.c[name] for name in _NUMBERS))
        names: list[str] = []
        vectors = bytearray()
        parts = [[np.empty(0, kind) for kind in _NUMBERS.values()]]
        with self.reading() as connection:
            length = connection.execute(_length_of(bundle)).scalar() or 0
            connection.execution_options(yield_per=ROWS_AT_ONCE)
            for rows in connection.execute(query.where(VECTORS.c.bundle == bundle)).partitions():
                ids, blobs, *columns = zip(*rows, strict=True)
                names += ids
                vectors += b"".join(blobs)
                parts.append(list(map(np.array, columns, _NUMBERS.values())))
        order = sorted(range(len(names)), key=names.__getitem__)  # here: databases order texts each by its own rules
        numbers = (np.concatenate(column)[order] for column in zip(*parts, strict=True))
        return UploadedVectors(
            [names[row] for row in order],
            np.frombuffer(vectors, "<f4").reshape(len(names), length)[order].astype(np.float32, copy=False),
            *numbers,
        )

    def highest_sequence(self, prefix: str) -> int:
        """The highest number of an upload of all devices whose ids begin so, pruned ones included; 0 without any."""
        highest = [
            sql.select(sql.func.max(number)).where(device.startswith(prefix, autoescape=True))
            for number, device in (
                (VECTORS.c.sequence, VECTORS.c.device_id),
                (DEVICES.c.pruned_sequence, DEVICES.c.device_id),
            )
        ]
        with self.reading() as connection:
            return max(connection.execute(query).scalar() or 0 for query in highest)

    def prune(self, before: float) -> Iterator[int]:
        """Deletes vectors that were received before a time, in seconds since 1970. Their sequence numbers stay used up.

        Each step is a transaction of its own and takes the devices that come next, so that uploads need not wait for
        millions; it yields how many vectors went.
        """
        old, device = VECTORS.c.received_at < before, VECTORS.c.device_id
        own = sql.select(sql.func.max(VECTORS.c.sequence)).where(device == DEVICES.c.device_id).scalar_subquery()

        def delete(connection: sql.Connection, rows: Sequence[sql.Row]) -> int:
            these = old & device.between(rows[0].device_id, rows[-1].device_id)
            affected = DEVICES.c.device_id.in_(sql.select(device).where(these))
            connection.execute(sql.update(DEVICES).where(affected).values(pruned_sequence=own))
            return connection.execute(sql.delete(VECTORS).where(these)).rowcount

        return self._by_device(sql.select(device).where(old).distinct(), device, delete)

    def _by_device(
        self, query: sql.Select, device: sql.Column, work: Callable[[sql.Connection, Sequence[sql.Row]], int]
    ) -> Iterator[int]:
        """What `work` returns for the rows of a query, page by page by device, each in a transaction of its own."""
        last = ""
        while True:
            with self.begin() as connection:
                rows = connection.execute(query.where(device > last).order_by(device).limit(DEVICES_AT_ONCE)).all()
                if not rows:
                    return
                done = work(connection, rows)
            yield done
            last = rows[-1].device_id

    def quarantined(self, limit: int = 100, reason: str | None = None, before: int | None = None) -> list[Quarantined]:
        """Rejected uploads, newest first.

        Args:
          limit: how many at most.
          reason: name of a `dccl.Reason`: of these alone.
          before: number of one: only older ones, to turn pages with.

        Raises:
          ValueError: there is no such reason.
        """
        if reason not in (None, *REASONS):
            raise ValueError(f"reason: expected one of {', '.join(REASONS)}, got {reason}")
        with self.reading() as connection:
            return quarantine.newest(connection, limit, reason, before)

    def counts_by_reason(self) -> dict[str, int]:
        """How many uploads were ever rejected, by reason."""
        with self.reading() as connection:
            return quarantine.counts(connection)

    def statistics(self) -> dict[str, Any]:
        """Devices, the vectors of each bundle, and rejections by reason; see `dccl_tf.vectors.statistics`."""
        with self.reading() as connection:
            return statistics(connection)

    def check(self) -> None:
        """Raises sqlalchemy's DBAPIError if the database does not answer."""
        with self.reading() as connection:
            connection.execute(sql.select(BUNDLES.c.identity).limit(1)).all()


def _length_of(bundle: bytes) -> sql.Select:
    return sql.select(BUNDLES.c.metapatch_length).where(BUNDLES.c.identity == bundle)

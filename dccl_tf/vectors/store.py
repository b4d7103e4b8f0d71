"""The store of uploaded vectors: devices and their keys, bundles, accepted vectors, quarantine.

SQLAlchemy Core over SQLite by default, in WAL mode and fully synchronous, so that an acknowledged upload survives a
crash. Several processes may write to one store in SQLite or PostgreSQL: each transaction waits for the one before.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sql

from dccl_tf.vectors.tables import BUNDLES, DEVICES, IDENTITY_BYTES, QUARANTINE, TABLES, VECTORS, device_id_error
from protos.signing import KEY_BYTES

NAMES_AT_ONCE = 500  # in one query; SQLite takes at most 32,766, older ones 999
WAIT_MS = 30_000  # for another process's transaction in SQLite

# The first statement of a writing transaction: nobody else writes until it ends, so what was checked still holds when
# it is stored. The number is the store's own among a PostgreSQL database's advisory locks ("dccl" in ASCII).
LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": f"SELECT pg_advisory_xact_lock({0x6463636C})"}


@dataclass(frozen=True)
class UploadedVectors:
    """The newest vector of each of M devices."""

    device_ids: list[str]  # M, sorted
    vectors: np.ndarray  # [M, K] float32
    samples: np.ndarray  # [M] int64
    gates: np.ndarray  # [M] float32, NaN without evidence
    cloud_loss: np.ndarray  # [M] held-out log loss with gate 0, NaN without evidence
    personal_loss: np.ndarray  # [M] the same with gate 1

    def __len__(self) -> int:
        return len(self.device_ids)


class VectorStore:
    """Made by `VectorStore.open`."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine
        if not sql.inspect(engine).has_table(QUARANTINE.name):
            with self.begin() as connection:  # another process may be making them: look again inside
                TABLES.create_all(connection)

    @classmethod
    def open(cls, url: str) -> "VectorStore":
        """Opens or creates a store.

        Args:
          url: of the database, such as "sqlite:///vectors.sqlite" (a file in the working folder),
            "sqlite:////data/vectors.sqlite" (four slashes: a full path) or "postgresql+psycopg://user@host/name"
            (with `psycopg` installed).

        Raises:
          ValueError: `url` is none, or its database cannot be opened.
        """
        try:
            engine = sql.create_engine(url)
        except sql.exc.ArgumentError as error:
            raise ValueError(f"url: expected one like sqlite:///vectors.sqlite, got {url!r}") from error
        if engine.dialect.name == "sqlite":
            sql.event.listen(engine, "connect", _tune_sqlite)
        try:
            return cls(engine)
        except sql.exc.DBAPIError as error:
            engine.dispose()
            shown = engine.url.render_as_string(hide_password=True)
            raise ValueError(
                f"url: cannot open {shown} ({error.orig}); the folder of a file must exist and be writable, "
                "the file be a store"
            ) from error

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[sql.Connection]:
        """A connection whose statements become durable together when the `with` block ends, or none if it raises."""
        with self._engine.begin() as connection:
            if lock := LOCKS.get(self._engine.dialect.name):
                connection.exec_driver_sql(lock)
            yield connection

    def register_device(self, device_id: str, key: bytes | None = None) -> bytes:
        """The device's 32-byte key: for a new device `key` or else a random one, and the same one ever after.

        Args:
          device_id: opaque, 1 to 128 printable characters.
          key: what the device already holds, if keys are given out elsewhere.

        Raises:
          ValueError: an argument is not as above, or the device is known with another key.
        """
        known = self._register({device_id: key})[device_id]
        if key not in (None, known):
            raise ValueError(f"key: {device_id!r} is registered with another key; leave `key` out to get that one")
        return known

    def register_devices(self, device_ids: Iterable[str]) -> dict[str, bytes]:
        """Keys of many devices, in one transaction; see `register_device`."""
        return self._register(dict.fromkeys(device_ids))

    def _register(self, wanted: Mapping[str, bytes | None]) -> dict[str, bytes]:
        for device_id, key in wanted.items():
            if error := device_id_error(device_id):
                raise ValueError(error)
            if key is not None and len(key) != KEY_BYTES:
                raise ValueError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
        names, known = list(wanted), {}
        with self.begin() as connection:
            for first in range(0, len(names), NAMES_AT_ONCE):
                query = sql.select(DEVICES).where(DEVICES.c.device_id.in_(names[first : first + NAMES_AT_ONCE]))
                known |= {row.device_id: bytes(row.key) for row in connection.execute(query)}
            fresh = {name: wanted[name] or secrets.token_bytes(KEY_BYTES) for name in names if name not in known}
            if fresh:
                rows = [{"device_id": name, "key": key} for name, key in fresh.items()]
                connection.execute(sql.insert(DEVICES), rows)
        known |= fresh
        return {name: known[name] for name in names}

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
        last = (
            sql.select(VECTORS.c.device_id, sql.func.max(VECTORS.c.sequence).label("sequence"))
            .where(VECTORS.c.bundle == bundle)
            .group_by(VECTORS.c.device_id)
            .subquery()
        )
        query = (
            sql.select(VECTORS)
            .join(last, (VECTORS.c.device_id == last.c.device_id) & (VECTORS.c.sequence == last.c.sequence))
            .order_by(VECTORS.c.device_id)
        )
        with self._engine.connect() as connection:
            length = connection.execute(_length_of(bundle)).scalar() or 0
            rows = connection.execute(query).all()
        vectors = np.frombuffer(b"".join(row.vector for row in rows), "<f4").reshape(len(rows), length)
        return UploadedVectors(
            device_ids=[row.device_id for row in rows],
            vectors=vectors.astype(np.float32),
            samples=np.array([row.samples for row in rows], np.int64),
            gates=np.array([row.gate for row in rows], np.float32),
            cloud_loss=np.array([row.cloud_loss for row in rows], np.float64),
            personal_loss=np.array([row.personal_loss for row in rows], np.float64),
        )

    def counts_by_reason(self) -> dict[str, int]:
        """How many uploads lie in quarantine, by reason."""
        query = sql.select(QUARANTINE.c.reason, sql.func.count()).group_by(QUARANTINE.c.reason)
        with self._engine.connect() as connection:
            return dict(connection.execute(query.order_by(QUARANTINE.c.reason)).tuples().all())


def _length_of(bundle: bytes) -> sql.Select:
    return sql.select(BUNDLES.c.metapatch_length).where(BUNDLES.c.identity == bundle)


def _tune_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout = {WAIT_MS}", "journal_mode = WAL", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

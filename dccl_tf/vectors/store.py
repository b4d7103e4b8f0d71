"""The store of uploaded vectors: devices and their keys, bundles, accepted vectors, quarantine.

SQLAlchemy Core over any database; SQLite by default, in WAL mode and fully synchronous, so that an acknowledged
upload survives a crash.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sql

from protos import dccl_pb2
from protos.signing import KEY_BYTES

QUARANTINED_BYTES = 4096  # of a rejected body that are kept

_TABLES = sql.MetaData()
DEVICES = sql.Table(
    "devices",
    _TABLES,
    sql.Column("device_id", sql.String(128), primary_key=True),
    sql.Column("key", sql.LargeBinary(KEY_BYTES), nullable=False),
)
BUNDLES = sql.Table(
    "bundles",
    _TABLES,
    sql.Column("identity", sql.LargeBinary(32), primary_key=True),
    sql.Column("metapatch_length", sql.Integer, nullable=False),
)
VECTORS = sql.Table(
    "vectors",
    _TABLES,
    sql.Column("device_id", sql.String(128), primary_key=True),
    sql.Column("sequence", sql.BigInteger, primary_key=True),
    sql.Column("bundle", sql.LargeBinary(32), nullable=False, index=True),
    sql.Column("vector", sql.LargeBinary, nullable=False),  # K little-endian float32
    sql.Column("samples", sql.BigInteger, nullable=False),
    sql.Column("gate", sql.Float),  # NULL: the device had nothing held out
    sql.Column("cloud_loss", sql.Float),
    sql.Column("personal_loss", sql.Float),
    sql.Column("body_hash", sql.LargeBinary(32), nullable=False),
    sql.Column("received_at", sql.Float, nullable=False),
)
QUARANTINE = sql.Table(
    "quarantine",
    _TABLES,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("reason", sql.String(32), nullable=False, index=True),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("device_id", sql.String(128)),  # if it could be read
    sql.Column("body", sql.LargeBinary, nullable=False),  # its first bytes
    sql.Column("body_bytes", sql.BigInteger, nullable=False),
    sql.Column("received_at", sql.Float, nullable=False),
)


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
        _TABLES.create_all(engine)

    @classmethod
    def open(cls, url: str) -> "VectorStore":
        """Opens or creates a store.

        Args:
          url: of the database, such as "sqlite:///vectors.sqlite".
        """
        engine = sql.create_engine(url)
        if engine.dialect.name == "sqlite":
            sql.event.listen(engine, "connect", _tune_sqlite)
        return cls(engine)

    def close(self) -> None:
        self._engine.dispose()

    def begin(self) -> sql.Connection:
        """A connection whose statements become durable together when its `with` block ends."""
        return self._engine.begin()

    def register_device(self, device_id: str) -> bytes:
        """The device's 32-byte key; a new one for a new device, the same one ever after."""
        return self.register_devices([device_id])[device_id]

    def register_devices(self, device_ids: Iterable[str]) -> dict[str, bytes]:
        """Keys of many devices, in one transaction."""
        wanted = list(dict.fromkeys(device_ids))
        with self.begin() as connection:
            known = {row.device_id: bytes(row.key) for row in connection.execute(sql.select(DEVICES))}
            fresh = [{"device_id": name, "key": secrets.token_bytes(KEY_BYTES)} for name in wanted if name not in known]
            if fresh:
                connection.execute(sql.insert(DEVICES), fresh)
        known |= {row["device_id"]: row["key"] for row in fresh}
        return {name: known[name] for name in wanted}

    def register_bundle(self, identity: bytes, metapatch_length: int) -> None:
        """Makes a bundle known, so that vectors trained on it are accepted."""
        with self.begin() as connection:
            found = connection.execute(sql.select(BUNDLES).where(BUNDLES.c.identity == identity)).first()
            if not found:
                row = {"identity": identity, "metapatch_length": metapatch_length}
                connection.execute(sql.insert(BUNDLES), row)

    def newest(self, bundle: bytes) -> UploadedVectors:
        """Each device's newest vector that was trained on a bundle."""
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
            rows = connection.execute(query).all()
            known = connection.execute(sql.select(BUNDLES).where(BUNDLES.c.identity == bundle)).first()
        length = known.metapatch_length if known else 0
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


def accept(connection: sql.Connection, upload: dccl_pb2.VectorUpload, body_hash: bytes) -> None:
    """Adds a checked vector."""
    evidence = upload.evidence if upload.evidence.heldout_samples else None
    row = {
        "device_id": upload.device_id,
        "sequence": upload.sequence,
        "bundle": upload.bundle,
        "vector": np.array(upload.vector, "<f4").tobytes(),
        "samples": upload.samples,
        "gate": evidence and evidence.gate,
        "cloud_loss": evidence and evidence.cloud_loss,
        "personal_loss": evidence and evidence.personal_loss,
        "body_hash": body_hash,
        "received_at": time.time(),
    }
    connection.execute(sql.insert(VECTORS), row)


def quarantine(connection: sql.Connection, reason: str, detail: str, device_id: str | None, body: bytes) -> None:
    """Keeps the beginning of a rejected body with its reason."""
    row = {
        "reason": reason,
        "detail": detail,
        "device_id": device_id and device_id[:128],
        "body": body[:QUARANTINED_BYTES],
        "body_bytes": len(body),
        "received_at": time.time(),
    }
    connection.execute(sql.insert(QUARANTINE), row)


def _tune_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

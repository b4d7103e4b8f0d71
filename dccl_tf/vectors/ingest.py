"""From bodies off the wire to the store: all checks, then one transaction; what fails goes to quarantine."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from dccl_tf.vectors import checks, devices, quarantine
from dccl_tf.vectors.checks import Parsed, Rejected
from dccl_tf.vectors.population import Population
from dccl_tf.vectors.store import VectorStore
from dccl_tf.vectors.tables import BUNDLES, VECTORS
from protos import dccl_pb2

_LENGTHS = sql.select(BUNDLES.c.identity, BUNDLES.c.metapatch_length)


@dataclass(frozen=True)
class Limits:
    """Bounds of what is accepted and kept."""

    body_bytes: int = 64 * 1024
    norm: float = 100.0  # Euclidean, of a vector, whatever the others are like
    norm_ratio: float = 4.0  # of a vector's norm to the median of its bundle; on MovieLens the longest was 2.1 medians
    population: int = 100  # devices of a bundle before there is a median
    quarantine_bytes: int = 64 * 2**20  # kept of rejected bodies, for each reason

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}: expected more than 0, got {value}")


class Ingest:
    """Receives uploads into a store. For one thread; several processes may have one each."""

    def __init__(self, store: VectorStore, limits: Limits | None = None) -> None:
        self._store, self._limits = store, limits or Limits()
        self._populations: dict[bytes, Population] = {}

    def receive(self, body: bytes) -> dccl_pb2.Receipt:
        """Checks one serialised `SignedUpload`; on return it is in the store or in quarantine, durably."""
        return self.receive_many([body])[0]

    def receive_many(self, bodies: Iterable[bytes]) -> list[dccl_pb2.Receipt]:
        """The same for many, in one transaction. Nothing raises on bad content.

        Raises:
          TypeError: a body is not bytes; then nothing of this call is received.
        """
        bodies = list(bodies)  # first, since a generator may use the store, which the transaction locks
        for body in bodies:
            if not isinstance(body, bytes | bytearray):
                raise TypeError(f"body: expected bytes, got {type(body).__name__}")
        parsed = [self._parse(body) for body in bodies]
        names = {one.upload.device_id for one in parsed if isinstance(one, Parsed)}
        with self._store.begin() as connection:
            group = _Group(self, connection, devices.histories(connection, self._store.vault, names))
            receipts = [group.receive(one, body) for one, body in zip(parsed, bodies, strict=True)]
            group.write()
        for bundle, device_id, norm in group.norms:
            self._populations[bundle].add(device_id, norm)
        return receipts

    def _parse(self, body: bytes) -> Parsed | Rejected:
        try:
            return checks.parse(body, self._limits.body_bytes)
        except Rejected as rejected:
            return rejected


class _Group:
    """The uploads of one transaction: each is judged in turn, then all are written."""

    def __init__(self, ingest: Ingest, connection: sql.Connection, histories: dict[str, devices.DeviceHistory]) -> None:
        self._limits, self._populations = ingest._limits, ingest._populations
        self._connection, self._histories = connection, histories
        self._lengths = dict(connection.execute(_LENGTHS).tuples().all()) if histories else {}
        self._rows: dict[tuple[str, bytes], dict[str, Any]] = {}
        self._rejections: list[tuple[Rejected, bytes]] = []
        self._now = time.time()
        self.norms: list[tuple[bytes, str, float]] = []

    def receive(self, one: Parsed | Rejected, body: bytes) -> dccl_pb2.Receipt:
        try:
            if isinstance(one, Rejected):
                raise one
            status = self._judge(one)
        except Rejected as rejected:
            self._rejections.append((rejected, body))
            return dccl_pb2.Receipt(
                status=dccl_pb2.Receipt.REJECTED,
                reason=rejected.reason,
                detail=rejected.detail,
                sequence=rejected.sequence,
            )
        return dccl_pb2.Receipt(status=status, sequence=one.upload.sequence)

    def _judge(self, parsed: Parsed) -> int:
        upload = parsed.upload
        device = self._histories.get(upload.device_id)
        checks.authenticate(parsed, device)
        if checks.is_duplicate(parsed, device):
            return dccl_pb2.Receipt.DUPLICATE
        vector, norm = checks.vector_of(parsed, self._lengths.get(upload.bundle))
        self._check_norm(parsed, norm)
        evidence = upload.evidence if upload.evidence.heldout_samples else None
        self._rows[upload.device_id, upload.bundle] = {
            "device_id": upload.device_id,
            "bundle": upload.bundle,
            "sequence": upload.sequence,
            "vector": vector.tobytes(),
            "norm": norm,
            "samples": upload.samples,
            "gate": evidence and evidence.gate,
            "cloud_loss": evidence and evidence.cloud_loss,
            "personal_loss": evidence and evidence.personal_loss,
            "body_hash": parsed.body_hash,
            "received_at": self._now,
        }
        device.newest = upload.sequence
        device.uploads[upload.bundle] = (upload.sequence, parsed.body_hash)
        self.norms.append((upload.bundle, upload.device_id, norm))
        return dccl_pb2.Receipt.ACCEPTED

    def _check_norm(self, parsed: Parsed, norm: float) -> None:
        bundle = parsed.upload.bundle
        if bundle not in self._populations:
            self._populations[bundle] = Population.of_bundle(self._connection, bundle, self._limits.population)
        median = self._populations[bundle].median
        bound, source = self._limits.norm, ""
        if median is not None and self._limits.norm_ratio * median < bound:
            bound = self._limits.norm_ratio * median
            source = f", {self._limits.norm_ratio:g} times this bundle's median"
        if norm > bound:
            detail = f"vector: expected a norm of at most {bound:g}{source}, got {norm:g}"
            raise parsed.rejected(dccl_pb2.NORM_TOO_LARGE, detail)

    def write(self) -> None:
        if self._rows:
            _write_vectors(self._connection, list(self._rows.values()))
        if self._rejections:
            quarantine.add(self._connection, self._rejections, self._limits.quarantine_bytes)


def _write_vectors(connection: sql.Connection, rows: list[dict[str, Any]]) -> None:
    """Puts each in place of what the device sent before for the same bundle."""
    # By the driver itself: all values are of its own types, and SQLAlchemy's look at each takes longer than storing it.
    statement, names = _compiled_upsert(connection.dialect)
    parameters = rows if names is None else [tuple(map(row.__getitem__, names)) for row in rows]
    connection.exec_driver_sql(statement, parameters)


@lru_cache(maxsize=8)
def _compiled_upsert(dialect: sql.Dialect) -> tuple[str, list[str] | None]:
    """The statement, and the order of its values if they go by place."""
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name](VECTORS)
    key = [column.name for column in VECTORS.primary_key]
    newer = {column.name: column for column in insert.excluded if column.name not in key}
    compiled = insert.on_conflict_do_update(index_elements=key, set_=newer).compile(dialect=dialect)
    return str(compiled), compiled.positiontup

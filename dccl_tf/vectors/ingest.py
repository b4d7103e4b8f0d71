"""Every check between a body off the wire and the store; what fails goes to quarantine with its reason.

Nothing here raises on bad input and nothing is executed: a body is bytes, then a protobuf message, or it is refused.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sql
from google.protobuf.message import DecodeError

from dccl_tf.vectors.store import VectorStore
from dccl_tf.vectors.tables import BUNDLES, DEVICES, VECTORS, add_quarantined, add_vector, device_id_error
from protos import dccl_pb2
from protos.signing import verify

SCHEMA = 1
LARGEST_INTEGER = 2**63 - 1  # of a database's BIGINT

# Built once: building a statement takes as long as running it.
_OWN = VECTORS.c.device_id == sql.bindparam("device_id")
_KEY = sql.select(DEVICES.c.key).where(DEVICES.c.device_id == sql.bindparam("device_id"))
_NEWEST = sql.select(sql.func.max(VECTORS.c.sequence)).where(_OWN)
_HASH = sql.select(VECTORS.c.body_hash).where(_OWN, VECTORS.c.sequence == sql.bindparam("sequence"))
_LENGTH = sql.select(BUNDLES.c.metapatch_length).where(BUNDLES.c.identity == sql.bindparam("identity"))


@dataclass(frozen=True)
class Limits:
    """Bounds of what is accepted and kept."""

    body_bytes: int = 64 * 1024
    norm: float = 100.0  # Euclidean, of a vector
    quarantined: int = 100_000  # rejected bodies that are kept, the newest: noise from the network fills no disk

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}: expected more than 0, got {value}")


class _Rejected(Exception):
    def __init__(self, reason: int, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Ingest:
    """Receives uploads into a store."""

    def __init__(self, store: VectorStore, limits: Limits | None = None) -> None:
        self._store, self._limits = store, limits or Limits()

    def receive(self, body: bytes) -> dccl_pb2.Receipt:
        """Checks one serialised `SignedUpload`; on return it is in the store or in quarantine, durably."""
        return self.receive_many([body])[0]

    def receive_many(self, bodies: Iterable[bytes]) -> list[dccl_pb2.Receipt]:
        """The same for many, in one transaction.

        Raises:
          TypeError: a body is not bytes; then nothing of this call is received.
        """
        bodies = list(bodies)  # first, since a generator may use the store, which the transaction locks
        for body in bodies:
            if not isinstance(body, bytes | bytearray):
                raise TypeError(f"body: expected bytes, got {type(body).__name__}")
        with self._store.begin() as connection:
            return [self._receive(connection, body) for body in bodies]

    def _receive(self, connection: sql.Connection, body: bytes) -> dccl_pb2.Receipt:
        upload = dccl_pb2.VectorUpload()
        try:
            signed = self._parse(body, upload)
            _authenticate(connection, signed, upload)
            body_hash = hashlib.sha256(signed.upload).digest()
            if _seen(connection, upload, body_hash):
                return dccl_pb2.Receipt(status=dccl_pb2.Receipt.DUPLICATE, sequence=upload.sequence)
            self._check(connection, upload)
        except _Rejected as rejected:
            device_id = None if device_id_error(upload.device_id) else upload.device_id
            reason = dccl_pb2.Reason.Name(rejected.reason)
            add_quarantined(connection, reason, rejected.detail, device_id, body, keep=self._limits.quarantined)
            return dccl_pb2.Receipt(
                status=dccl_pb2.Receipt.REJECTED,
                reason=rejected.reason,
                detail=rejected.detail,
                sequence=upload.sequence,
            )
        add_vector(connection, upload, body_hash)
        return dccl_pb2.Receipt(status=dccl_pb2.Receipt.ACCEPTED, sequence=upload.sequence)

    def _parse(self, body: bytes, upload: dccl_pb2.VectorUpload) -> dccl_pb2.SignedUpload:
        """Fills `upload`; the size comes before parsing."""
        largest = self._limits.body_bytes
        if len(body) > largest:
            raise _Rejected(dccl_pb2.TOO_LARGE, f"body: expected at most {largest} bytes, got {len(body)}")
        try:
            signed = dccl_pb2.SignedUpload.FromString(bytes(body))
            upload.MergeFromString(signed.upload)
        except (DecodeError, UnicodeDecodeError) as error:  # the latter from protobuf in pure Python
            upload.Clear()
            detail = f"body: expected a SignedUpload, got {len(body)} other bytes"
            raise _Rejected(dccl_pb2.MALFORMED, detail) from error
        if not signed.upload:
            raise _Rejected(dccl_pb2.MALFORMED, "upload: expected a VectorUpload, got nothing")
        if upload.schema != SCHEMA:
            raise _Rejected(dccl_pb2.UNSUPPORTED_SCHEMA, f"schema: expected {SCHEMA}, got {upload.schema}")
        if error := device_id_error(upload.device_id):
            raise _Rejected(dccl_pb2.MALFORMED, error)
        return signed

    def _check(self, connection: sql.Connection, upload: dccl_pb2.VectorUpload) -> None:
        """The content of an authentic and new upload."""
        length = connection.execute(_LENGTH, {"identity": upload.bundle}).scalar()
        if length is None:
            raise _Rejected(dccl_pb2.UNKNOWN_BUNDLE, f"bundle: {upload.bundle.hex()[:16] or 'nothing'} is not known")
        if len(upload.vector) != length:
            raise _Rejected(dccl_pb2.WRONG_LENGTH, f"vector: expected {length} floats, got {len(upload.vector)}")
        vector = np.array(upload.vector, np.float64)
        evidence = upload.evidence
        if not np.isfinite([*vector, evidence.cloud_loss, evidence.personal_loss, evidence.gate]).all():
            raise _Rejected(dccl_pb2.NOT_FINITE, "vector, evidence: expected finite numbers")
        norm = math.sqrt(float(vector @ vector))
        if norm > self._limits.norm:
            detail = f"vector: expected a norm of at most {self._limits.norm:g}, got {norm:g}"
            raise _Rejected(dccl_pb2.NORM_TOO_LARGE, detail)
        if not 0 < upload.samples <= LARGEST_INTEGER:
            detail = f"samples: expected 1 to {LARGEST_INTEGER}, got {upload.samples}"
            raise _Rejected(dccl_pb2.NO_SAMPLES, detail)
        if not 0.0 <= evidence.gate <= 1.0:
            raise _Rejected(dccl_pb2.MALFORMED, f"evidence.gate: expected 0 to 1, got {evidence.gate:g}")
        if min(evidence.cloud_loss, evidence.personal_loss) < 0.0:
            raise _Rejected(dccl_pb2.MALFORMED, "evidence: expected log losses of at least 0")


def _authenticate(connection: sql.Connection, signed: dccl_pb2.SignedUpload, upload: dccl_pb2.VectorUpload) -> None:
    """The device is known and the bytes are its own."""
    key = connection.execute(_KEY, {"device_id": upload.device_id}).scalar()
    if key is None:
        raise _Rejected(dccl_pb2.UNKNOWN_DEVICE, "device_id: not registered")
    if not verify(signed, bytes(key)):
        raise _Rejected(dccl_pb2.BAD_MAC, "mac: does not belong to this device's key and this upload")


def _seen(connection: sql.Connection, upload: dccl_pb2.VectorUpload, body_hash: bytes) -> bool:
    """Whether these very bytes came before; an older number, or other bytes under one, is refused."""
    if not 0 < upload.sequence <= LARGEST_INTEGER:
        detail = f"sequence: expected 1 to {LARGEST_INTEGER}, got {upload.sequence}"
        raise _Rejected(dccl_pb2.MALFORMED, detail)
    newest = connection.execute(_NEWEST, {"device_id": upload.device_id}).scalar()
    if newest is None or upload.sequence > newest:
        return False
    before = connection.execute(_HASH, {"device_id": upload.device_id, "sequence": upload.sequence}).scalar()
    if before is None or bytes(before) != body_hash:
        detail = f"sequence: expected more than {newest}, got {upload.sequence} with other content"
        raise _Rejected(dccl_pb2.STALE_SEQUENCE, detail)
    return True

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

from dccl_tf.vectors.store import BUNDLES, DEVICES, VECTORS, VectorStore, accept, quarantine
from protos import dccl_pb2
from protos.signing import verify

SCHEMA = 1
DEVICE_ID_CHARACTERS = 128
LARGEST_INTEGER = 2**63 - 1  # of a database's BIGINT


@dataclass(frozen=True)
class Limits:
    """Bounds of what is accepted."""

    body_bytes: int = 64 * 1024
    norm: float = 100.0  # Euclidean, of a vector

    def __post_init__(self) -> None:
        if self.body_bytes < 1 or not self.norm > 0:
            raise ValueError(f"body_bytes, norm: expected more than 0, got {self.body_bytes} and {self.norm}")


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
        """The same for many, in one transaction."""
        with self._store.begin() as connection:
            return [self._receive(connection, bytes(body)) for body in bodies]

    def _receive(self, connection: sql.Connection, body: bytes) -> dccl_pb2.Receipt:
        upload = dccl_pb2.VectorUpload()
        try:
            self._parse(connection, body, upload)
            body_hash = hashlib.sha256(body).digest()
            if self._seen(connection, upload, body_hash):
                return dccl_pb2.Receipt(status=dccl_pb2.Receipt.DUPLICATE, sequence=upload.sequence)
            self._check(connection, upload)
        except _Rejected as rejected:
            quarantine(
                connection, dccl_pb2.Reason.Name(rejected.reason), rejected.detail, upload.device_id or None, body
            )
            return dccl_pb2.Receipt(
                status=dccl_pb2.Receipt.REJECTED,
                reason=rejected.reason,
                detail=rejected.detail,
                sequence=upload.sequence,
            )
        accept(connection, upload, body_hash)
        return dccl_pb2.Receipt(status=dccl_pb2.Receipt.ACCEPTED, sequence=upload.sequence)

    def _parse(self, connection: sql.Connection, body: bytes, upload: dccl_pb2.VectorUpload) -> None:
        """Fills `upload` from an authentic body; size comes before parsing, the MAC before the vector."""
        if len(body) > self._limits.body_bytes:
            raise _Rejected(
                dccl_pb2.TOO_LARGE, f"body: expected at most {self._limits.body_bytes} bytes, got {len(body)}"
            )
        try:
            signed = dccl_pb2.SignedUpload.FromString(body)
            upload.MergeFromString(signed.upload)
        except DecodeError as error:
            upload.Clear()
            raise _Rejected(
                dccl_pb2.MALFORMED, f"body: expected a SignedUpload, got {len(body)} other bytes"
            ) from error
        if not signed.upload or not upload.device_id or len(upload.device_id) > DEVICE_ID_CHARACTERS:
            raise _Rejected(
                dccl_pb2.MALFORMED,
                f"device_id: expected 1 to {DEVICE_ID_CHARACTERS} characters, got {len(upload.device_id)}",
            )
        if upload.schema != SCHEMA:
            raise _Rejected(dccl_pb2.UNSUPPORTED_SCHEMA, f"schema: expected {SCHEMA}, got {upload.schema}")
        key = connection.execute(sql.select(DEVICES.c.key).where(DEVICES.c.device_id == upload.device_id)).scalar()
        if key is None:
            raise _Rejected(dccl_pb2.UNKNOWN_DEVICE, "device_id: not registered")
        if not verify(signed, bytes(key)):
            raise _Rejected(dccl_pb2.BAD_MAC, "mac: does not belong to this device's key and this upload")

    def _seen(self, connection: sql.Connection, upload: dccl_pb2.VectorUpload, body_hash: bytes) -> bool:
        """Whether these very bytes came before; an older number, or other bytes under one, is refused."""
        if not 0 < upload.sequence <= LARGEST_INTEGER:
            raise _Rejected(dccl_pb2.MALFORMED, f"sequence: expected 1 to {LARGEST_INTEGER}, got {upload.sequence}")
        own = VECTORS.c.device_id == upload.device_id
        same = sql.select(VECTORS.c.body_hash).where(own, VECTORS.c.sequence == upload.sequence)
        before = connection.execute(same).scalar()
        if before is not None and bytes(before) == body_hash:
            return True
        newest = connection.execute(sql.select(sql.func.max(VECTORS.c.sequence)).where(own)).scalar()
        if newest is not None and upload.sequence <= newest:
            raise _Rejected(
                dccl_pb2.STALE_SEQUENCE,
                f"sequence: expected more than {newest}, got {upload.sequence} with other content",
            )
        return False

    def _check(self, connection: sql.Connection, upload: dccl_pb2.VectorUpload) -> None:
        query = sql.select(BUNDLES.c.metapatch_length).where(BUNDLES.c.identity == upload.bundle)
        length = connection.execute(query).scalar()
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
            raise _Rejected(
                dccl_pb2.NORM_TOO_LARGE, f"vector: expected a norm of at most {self._limits.norm:g}, got {norm:g}"
            )
        if not 0 < upload.samples <= LARGEST_INTEGER:
            raise _Rejected(dccl_pb2.NO_SAMPLES, f"samples: expected at least 1, got {upload.samples}")

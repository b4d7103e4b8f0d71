"""Every check of one upload, as functions without a store; what fails raises `Rejected` with its reason.

Nothing is executed: a body is bytes, then a protobuf message, or it is refused. The order is that of what may be
believed: size, form, whose it is, whether it is new, what it says.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError

from dccl_tf.vectors.devices import DeviceHistory
from dccl_tf.vectors.tables import IDENTITY_BYTES, device_id_error
from protos import dccl_pb2
from protos.signing import verify

SCHEMA = 1
LARGEST_INTEGER = 2**63 - 1  # of a database's BIGINT


class Rejected(Exception):
    """An upload that must not reach the store."""

    def __init__(self, reason: int, detail: str, device_id: str | None = None, sequence: int = 0) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.device_id, self.sequence = reason, detail, device_id, sequence


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body that has the form of an upload; nothing in it is to be believed yet."""

    signed: dccl_pb2.SignedUpload
    upload: dccl_pb2.VectorUpload
    body_hash: bytes  # SHA-256 of the signed bytes

    def rejected(self, reason: int, detail: str) -> Rejected:
        """To raise."""
        return Rejected(reason, detail, self.upload.device_id, self.upload.sequence)


def parse(body: bytes, largest: int) -> Parsed:
    """Reads a serialised `SignedUpload` of at most `largest` bytes; the size comes before parsing."""
    if len(body) > largest:
        raise Rejected(dccl_pb2.TOO_LARGE, f"body: expected at most {largest} bytes, got {len(body)}")
    try:
        signed = dccl_pb2.SignedUpload.FromString(bytes(body))
        upload = dccl_pb2.VectorUpload.FromString(signed.upload)
    except (DecodeError, UnicodeDecodeError) as error:  # the latter from protobuf in pure Python
        detail = f"body: expected a SignedUpload, got {len(body)} other bytes"
        raise Rejected(dccl_pb2.MALFORMED, detail) from error
    if not signed.upload:
        raise Rejected(dccl_pb2.MALFORMED, "upload: expected a VectorUpload, got nothing")
    if error := device_id_error(upload.device_id):
        raise Rejected(dccl_pb2.MALFORMED, error, sequence=upload.sequence)
    parsed = Parsed(signed, upload, hashlib.sha256(signed.upload).digest())
    if upload.schema != SCHEMA:
        raise parsed.rejected(dccl_pb2.UNSUPPORTED_SCHEMA, f"schema: expected {SCHEMA}, got {upload.schema}")
    return parsed


def authenticate(parsed: Parsed, device: DeviceHistory | None) -> None:
    """The device is known and the bytes are its own."""
    if device is None:
        raise parsed.rejected(dccl_pb2.UNKNOWN_DEVICE, "device_id: not registered")
    if not verify(parsed.signed, device.key):
        raise parsed.rejected(dccl_pb2.BAD_MAC, "mac: does not belong to this device's key and this upload")


def is_duplicate(parsed: Parsed, device: DeviceHistory) -> bool:
    """Whether these very bytes came before; an older number, or other bytes under one, is refused."""
    sequence = parsed.upload.sequence
    if not 0 < sequence <= LARGEST_INTEGER:
        raise parsed.rejected(dccl_pb2.MALFORMED, f"sequence: expected 1 to {LARGEST_INTEGER}, got {sequence}")
    if sequence > device.newest:
        return False
    if (sequence, parsed.body_hash) not in device.uploads.values():
        detail = f"sequence: expected more than {device.newest}, got {sequence}; a newer upload has been accepted"
        raise parsed.rejected(dccl_pb2.STALE_SEQUENCE, detail)
    return True


def vector_of(parsed: Parsed, length: int | None) -> tuple[np.ndarray, float]:
    """The vector of an authentic and new upload, [K] float32, and its Euclidean norm, after checks of all fields.

    Args:
      parsed: the upload.
      length: K of the upload's bundle; None if that is not known.
    """
    upload = parsed.upload
    if length is None:
        shown = upload.bundle[: IDENTITY_BYTES // 4].hex() or "nothing"
        raise parsed.rejected(dccl_pb2.UNKNOWN_BUNDLE, f"bundle: {shown} is not known")
    if len(upload.vector) != length:
        detail = f"vector: expected {length} floats, got {len(upload.vector)}"
        raise parsed.rejected(dccl_pb2.WRONG_LENGTH, detail)
    vector = np.fromiter(upload.vector, "<f4", length)  # half the time of np.array
    wide = vector.astype(np.float64)  # squares of all float32 fit
    norm, evidence = math.sqrt(float(wide @ wide)), upload.evidence
    if not all(map(math.isfinite, (norm, evidence.cloud_loss, evidence.personal_loss, evidence.gate))):
        raise parsed.rejected(dccl_pb2.NOT_FINITE, "vector, evidence: expected finite numbers")
    if not 0 < upload.samples <= LARGEST_INTEGER:
        detail = f"samples: expected 1 to {LARGEST_INTEGER}, got {upload.samples}"
        raise parsed.rejected(dccl_pb2.NO_SAMPLES, detail)
    if not 0.0 <= evidence.gate <= 1.0:
        raise parsed.rejected(dccl_pb2.MALFORMED, f"evidence.gate: expected 0 to 1, got {evidence.gate:g}")
    if min(evidence.cloud_loss, evidence.personal_loss) < 0.0:
        raise parsed.rejected(dccl_pb2.MALFORMED, "evidence: expected log losses of at least 0")
    return vector, norm

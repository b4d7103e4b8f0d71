"""The tables of the vector store, and the rows that ingest adds to them."""

import time

import numpy as np
import sqlalchemy as sql

from protos import dccl_pb2
from protos.signing import KEY_BYTES

DEVICE_ID_CHARACTERS = 128
IDENTITY_BYTES = 32  # SHA-256
QUARANTINED_BYTES = 4096  # of a rejected body that are kept

TABLES = sql.MetaData()
DEVICES = sql.Table(
    "devices",
    TABLES,
    sql.Column("device_id", sql.String(DEVICE_ID_CHARACTERS), primary_key=True),
    sql.Column("key", sql.LargeBinary(KEY_BYTES), nullable=False),
)
BUNDLES = sql.Table(
    "bundles",
    TABLES,
    sql.Column("identity", sql.LargeBinary(IDENTITY_BYTES), primary_key=True),
    sql.Column("metapatch_length", sql.Integer, nullable=False),
)
VECTORS = sql.Table(
    "vectors",
    TABLES,
    sql.Column("device_id", sql.String(DEVICE_ID_CHARACTERS), primary_key=True),
    sql.Column("sequence", sql.BigInteger, primary_key=True),
    sql.Column("bundle", sql.LargeBinary(IDENTITY_BYTES), nullable=False, index=True),
    sql.Column("vector", sql.LargeBinary, nullable=False),  # K little-endian float32
    sql.Column("samples", sql.BigInteger, nullable=False),
    sql.Column("gate", sql.Float),  # NULL: the device had nothing held out
    sql.Column("cloud_loss", sql.Float),
    sql.Column("personal_loss", sql.Float),
    sql.Column("body_hash", sql.LargeBinary(32), nullable=False),  # SHA-256 of the signed bytes
    sql.Column("received_at", sql.Float, nullable=False),  # seconds since 1970
)
QUARANTINE = sql.Table(
    "quarantine",
    TABLES,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("reason", sql.String(32), nullable=False, index=True),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("device_id", sql.String(DEVICE_ID_CHARACTERS)),  # as the body says; NULL if it has no valid one
    sql.Column("body", sql.LargeBinary, nullable=False),  # its first bytes
    sql.Column("body_bytes", sql.BigInteger, nullable=False),
    sql.Column("received_at", sql.Float, nullable=False),
)


def device_id_error(device_id: str) -> str | None:
    """What is wrong with a device id, or None; some databases cannot hold control characters in a text."""
    if 1 <= len(device_id) <= DEVICE_ID_CHARACTERS and device_id.isprintable():
        return None
    shown = ascii(device_id[:40]) + ("..." if len(device_id) > 40 else "")
    return f"device_id: expected 1 to {DEVICE_ID_CHARACTERS} printable characters, got {len(device_id)}: {shown}"


def add_vector(connection: sql.Connection, upload: dccl_pb2.VectorUpload, body_hash: bytes) -> None:
    """Adds a checked upload."""
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


def add_quarantined(
    connection: sql.Connection, reason: str, detail: str, device_id: str | None, body: bytes, keep: int
) -> None:
    """Keeps the beginning of a rejected body with its reason, and forgets all but the newest `keep` bodies."""
    row = {
        "reason": reason,
        "detail": detail,
        "device_id": device_id,
        "body": bytes(body[:QUARANTINED_BYTES]),
        "body_bytes": len(body),
        "received_at": time.time(),
    }
    (number,) = connection.execute(sql.insert(QUARANTINE), row).inserted_primary_key
    connection.execute(sql.delete(QUARANTINE).where(QUARANTINE.c.number <= number - keep))

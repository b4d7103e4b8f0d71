"""The tables of the vector store, as the newest migration leaves them (migrations/versions)."""

import sqlalchemy as sql

DEVICE_ID_CHARACTERS = 128
IDENTITY_BYTES = 32  # SHA-256

TABLES = sql.MetaData()
DEVICES = sql.Table(
    "devices",
    TABLES,
    sql.Column("device_id", sql.String(DEVICE_ID_CHARACTERS), primary_key=True),
    sql.Column("key", sql.LargeBinary, nullable=False),  # see keys.py
    # Uploads up to this number are refused, though their vectors are gone; 0 while none of its vectors was pruned.
    sql.Column("pruned_sequence", sql.BigInteger, nullable=False, server_default="0"),
)
BUNDLES = sql.Table(
    "bundles",
    TABLES,
    sql.Column("identity", sql.LargeBinary(IDENTITY_BYTES), primary_key=True),
    sql.Column("metapatch_length", sql.Integer, nullable=False),
)
# The newest vector of each device for each bundle: what a newer one replaces is of no use to anybody.
VECTORS = sql.Table(
    "vectors",
    TABLES,
    sql.Column("device_id", sql.String(DEVICE_ID_CHARACTERS), primary_key=True),
    sql.Column("bundle", sql.LargeBinary(IDENTITY_BYTES), primary_key=True, index=True),
    sql.Column("sequence", sql.BigInteger, nullable=False),
    sql.Column("vector", sql.LargeBinary, nullable=False),  # K little-endian float32
    sql.Column("norm", sql.Float, nullable=False),  # Euclidean
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
    # Anybody may use numbers up, so they are as long as they can be; SQLite counts rows by INTEGER alone, of 64 bits.
    sql.Column("number", sql.BigInteger().with_variant(sql.Integer, "sqlite"), primary_key=True),
    sql.Column("reason", sql.String(32), nullable=False),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("device_id", sql.String(DEVICE_ID_CHARACTERS)),  # as the body says; NULL if it has no valid one
    sql.Column("body", sql.LargeBinary, nullable=False),  # its first bytes
    sql.Column("body_bytes", sql.BigInteger, nullable=False),  # of the whole of it
    sql.Column("received_at", sql.Float, nullable=False),
    # Bytes ever kept under this reason before this row: the oldest beyond a bound are found without adding up.
    sql.Column("begins_at", sql.BigInteger, nullable=False),
    sql.Index("ix_quarantine_reason_begins_at", "reason", "begins_at"),
)
REJECTIONS = sql.Table(
    "rejections",
    TABLES,
    sql.Column("reason", sql.String(32), primary_key=True),
    # Both since the store began, forgotten bodies included.
    sql.Column("count", sql.BigInteger, nullable=False),
    sql.Column("bytes", sql.BigInteger, nullable=False),
)
# What devices are offered: the newest release that is for them (dccl_tf/collector/releases.py).
RELEASES = sql.Table(
    "releases",
    TABLES,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("bundle", sql.LargeBinary(IDENTITY_BYTES), nullable=False, unique=True),
    sql.Column("percent", sql.Float, nullable=False),  # of all devices, 0 to 100
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("sizes", sql.JSON, nullable=False),  # bytes of the stored file by content coding
    sql.Column("published_at", sql.Float, nullable=False),
    sql.Column("changed_at", sql.Float, nullable=False),
)


def device_id_error(device_id: str) -> str | None:
    """What is wrong with a device id, or None; some databases cannot hold control characters in a text."""
    if 1 <= len(device_id) <= DEVICE_ID_CHARACTERS and device_id.isprintable():
        return None
    shown = ascii(device_id[:40]) + ("..." if len(device_id) > 40 else "")
    return f"device_id: expected 1 to {DEVICE_ID_CHARACTERS} printable characters, got {len(device_id)}: {shown}"

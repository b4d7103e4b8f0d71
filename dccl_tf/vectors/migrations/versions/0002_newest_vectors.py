"""One vector for each device and bundle, with its norm; quarantine by bytes; counts of rejections; releases."""

import numpy as np
import sqlalchemy as sql
from alembic import op

revision, down_revision = "0002", "0001"

ROWS_AT_ONCE = 10_000
SIZE = "(length(body) + 256)"  # of a quarantined row


def upgrade() -> None:
    """Keeps each device's newest vector of each bundle, and all of the quarantine."""
    op.add_column("devices", sql.Column("pruned_sequence", sql.BigInteger, nullable=False, server_default="0"))
    newest = op.create_table(
        "newest_vectors",
        sql.Column("device_id", sql.String(128), primary_key=True),
        sql.Column("bundle", sql.LargeBinary(32), primary_key=True),
        sql.Column("sequence", sql.BigInteger, nullable=False),
        sql.Column("vector", sql.LargeBinary, nullable=False),
        sql.Column("norm", sql.Float, nullable=False),
        sql.Column("samples", sql.BigInteger, nullable=False),
        sql.Column("gate", sql.Float),
        sql.Column("cloud_loss", sql.Float),
        sql.Column("personal_loss", sql.Float),
        sql.Column("body_hash", sql.LargeBinary(32), nullable=False),
        sql.Column("received_at", sql.Float, nullable=False),
    )
    _copy_newest(newest)
    op.drop_table("vectors")
    op.rename_table("newest_vectors", "vectors")
    op.create_index("ix_vectors_bundle", "vectors", ["bundle"])

    op.add_column("quarantine", sql.Column("begins_at", sql.BigInteger, nullable=False, server_default="0"))
    op.execute(
        f"UPDATE quarantine SET begins_at = sums.begins_at FROM (SELECT number, SUM({SIZE}) "
        f"OVER (PARTITION BY reason ORDER BY number) - {SIZE} AS begins_at FROM quarantine) AS sums "
        "WHERE sums.number = quarantine.number"
    )
    op.drop_index("ix_quarantine_reason", "quarantine")
    op.create_index("ix_quarantine_reason_begins_at", "quarantine", ["reason", "begins_at"])
    op.create_table(
        "rejections",
        sql.Column("reason", sql.String(32), primary_key=True),
        sql.Column("count", sql.BigInteger, nullable=False),
        sql.Column("bytes", sql.BigInteger, nullable=False),
    )
    op.execute(f"INSERT INTO rejections SELECT reason, COUNT(*), SUM({SIZE}) FROM quarantine GROUP BY reason")
    op.create_table(
        "releases",
        sql.Column("number", sql.Integer, primary_key=True),
        sql.Column("bundle", sql.LargeBinary(32), nullable=False, unique=True),
        sql.Column("percent", sql.Float, nullable=False),
        sql.Column("state", sql.String(16), nullable=False),
        sql.Column("sizes", sql.JSON, nullable=False),
        sql.Column("published_at", sql.Float, nullable=False),
        sql.Column("changed_at", sql.Float, nullable=False),
    )


def _copy_newest(newest: sql.Table) -> None:
    columns = ", ".join(column.name for column in newest.columns if column.name != "norm")
    query = sql.text(
        f"SELECT {columns} FROM vectors WHERE sequence = (SELECT MAX(sequence) FROM vectors AS other "
        "WHERE other.device_id = vectors.device_id AND other.bundle = vectors.bundle)"
    )
    connection = op.get_bind()
    found = connection.execute(query)
    while rows := found.fetchmany(ROWS_AT_ONCE):
        copies = [row._asdict() | {"norm": _norm(row.vector)} for row in rows]
        connection.execute(sql.insert(newest), copies)


def _norm(vector: bytes) -> float:
    return float(np.linalg.norm(np.frombuffer(vector, "<f4").astype(np.float64)))

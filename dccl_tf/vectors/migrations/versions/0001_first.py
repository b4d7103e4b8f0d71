"""Devices, bundles, every vector, quarantine: the store as it was before it had migrations."""

import sqlalchemy as sql
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "devices",
        sql.Column("device_id", sql.String(128), primary_key=True),
        sql.Column("key", sql.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "bundles",
        sql.Column("identity", sql.LargeBinary(32), primary_key=True),
        sql.Column("metapatch_length", sql.Integer, nullable=False),
    )
    op.create_table(
        "vectors",
        sql.Column("device_id", sql.String(128), primary_key=True),
        sql.Column("sequence", sql.BigInteger, primary_key=True),
        sql.Column("bundle", sql.LargeBinary(32), nullable=False, index=True),
        sql.Column("vector", sql.LargeBinary, nullable=False),
        sql.Column("samples", sql.BigInteger, nullable=False),
        sql.Column("gate", sql.Float),
        sql.Column("cloud_loss", sql.Float),
        sql.Column("personal_loss", sql.Float),
        sql.Column("body_hash", sql.LargeBinary(32), nullable=False),
        sql.Column("received_at", sql.Float, nullable=False),
    )
    op.create_table(
        "quarantine",
        sql.Column("number", sql.Integer, primary_key=True),
        sql.Column("reason", sql.String(32), nullable=False, index=True),
        sql.Column("detail", sql.Text, nullable=False),
        sql.Column("device_id", sql.String(128)),
        sql.Column("body", sql.LargeBinary, nullable=False),
        sql.Column("body_bytes", sql.BigInteger, nullable=False),
        sql.Column("received_at", sql.Float, nullable=False),
    )

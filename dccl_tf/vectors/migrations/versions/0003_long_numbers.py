"""Numbers of rejected uploads of 64 bits: who sends rubbish uses them up, and after 2^31 nothing more was taken in."""

from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    """SQLite's are as long as that already."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE quarantine ALTER COLUMN number TYPE BIGINT")
        op.execute("ALTER SEQUENCE quarantine_number_seq AS BIGINT")

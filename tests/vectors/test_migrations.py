"""The tables after all migrations, and a store that was made before there were any."""

import numpy as np
import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dccl_tf.vectors import Ingest, VectorStore
from dccl_tf.vectors.database import HEAD, MIGRATIONS, open_engine
from dccl_tf.vectors.tables import DEVICES, REJECTIONS, TABLES, VECTORS
from protos.signing import sign
from tests.vectors.uploads import BUNDLE, OTHER, K, upload, verdict

# As the first version of this package made them.
OLD = """
CREATE TABLE devices (device_id VARCHAR(128) PRIMARY KEY, key BLOB NOT NULL);
CREATE TABLE bundles (identity BLOB PRIMARY KEY, metapatch_length INTEGER NOT NULL);
CREATE TABLE vectors (device_id VARCHAR(128), sequence BIGINT, bundle BLOB NOT NULL, vector BLOB NOT NULL,
  samples BIGINT NOT NULL, gate FLOAT, cloud_loss FLOAT, personal_loss FLOAT, body_hash BLOB NOT NULL,
  received_at FLOAT NOT NULL, PRIMARY KEY (device_id, sequence));
CREATE INDEX ix_vectors_bundle ON vectors (bundle);
CREATE TABLE quarantine (number INTEGER PRIMARY KEY, reason VARCHAR(32) NOT NULL, detail TEXT NOT NULL,
  device_id VARCHAR(128), body BLOB NOT NULL, body_bytes BIGINT NOT NULL, received_at FLOAT NOT NULL);
CREATE INDEX ix_quarantine_reason ON quarantine (reason);
"""


@pytest.fixture
def old_url(url):
    """A store of before: device d1 with uploads 1 and 3 for BUNDLE and 2 for another, and three rejections."""
    engine = sql.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in OLD.split(";")[:-1]:
            connection.exec_driver_sql(
                statement.replace("BLOB", "BYTEA").replace("number INTEGER", "number SERIAL")
                if engine.dialect.name == "postgresql"
                else statement
            )
        add = lambda table, **row: connection.execute(  # noqa: E731
            sql.insert(sql.table(table, *map(sql.column, row))), row
        )
        add("devices", device_id="d1", key=bytes(range(32)))
        add("bundles", identity=BUNDLE, metapatch_length=K)
        for sequence, bundle in ((1, BUNDLE), (2, OTHER), (3, BUNDLE)):
            vector = np.float32([sequence, 0, 0, 2 * sequence]).tobytes()
            row = {"device_id": "d1", "sequence": sequence, "bundle": bundle, "vector": vector, "samples": 9}
            add("vectors", **row, body_hash=bytes(32), received_at=5.0)
        for reason, body in (("MALFORMED", b"abc"), ("NO_SAMPLES", b"de"), ("MALFORMED", b"f")):
            add("quarantine", reason=reason, detail="", body=body, body_bytes=len(body), received_at=5.0)
    engine.dispose()
    return url


def test_migrations_make_the_tables_that_the_code_expects(url):
    engine = open_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), TABLES) == []
    engine.dispose()


def test_the_newest_migration_is_the_head():
    assert ScriptDirectory(MIGRATIONS).get_current_head() == HEAD


def test_an_older_store_keeps_keys_and_newest_vectors(old_url):
    store = VectorStore.open(old_url)
    assert store.register_device("d1") == bytes(range(32))
    np.testing.assert_array_equal(store.newest(BUNDLE).vectors, [[3, 0, 0, 6]])
    with store.reading() as connection:
        rows = connection.execute(sql.select(VECTORS.c.sequence, VECTORS.c.norm).order_by(VECTORS.c.sequence)).all()
        assert connection.execute(sql.select(DEVICES.c.pruned_sequence)).scalar() == 0
    assert [row.sequence for row in rows] == [2, 3]
    np.testing.assert_allclose([row.norm for row in rows], [2 * 5**0.5, 3 * 5**0.5])
    store.close()


def test_an_older_store_keeps_its_quarantine_and_counts_it(old_url):
    """Bodies of 3 and 1 bytes, 256 around each: the second begins at 259."""
    store = VectorStore.open(old_url)
    assert [one.body for one in store.quarantined()] == [b"f", b"de", b"abc"]
    assert store.counts_by_reason() == {"MALFORMED": 2, "NO_SAMPLES": 1}
    with store.reading() as connection:
        total = connection.execute(sql.select(REJECTIONS.c.bytes).where(REJECTIONS.c.reason == "MALFORMED")).scalar()
    assert total == 3 + 1 + 2 * 256
    store.close()


def test_an_older_store_goes_on_receiving(old_url):
    store = VectorStore.open(old_url)
    stale, fresh = (sign(upload(sequence=sequence), bytes(range(32))) for sequence in (2, 4))
    receipts = Ingest(store).receive_many([stale, fresh, b"noise"])
    assert [verdict(receipt) for receipt in receipts] == ["STALE_SEQUENCE", "ACCEPTED", "MALFORMED"]
    assert store.counts_by_reason()["MALFORMED"] == 3
    store.close()


def test_a_newer_store_is_refused_in_words(url):
    store = VectorStore.open(url)
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(ValueError, match=r"store is of a newer version of this package .schema 9999, known up to 0003"):
        VectorStore.open(url)

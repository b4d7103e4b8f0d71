"""Files of older schemas come forward without loss; newer ones are left alone."""

import sqlite3

import pytest

from device_runtime import Device, StateError
from device_runtime.log.database import SCHEMA, Database
from device_runtime.log.samples import SampleLog

# As version 0.1.0 wrote them.
SCHEMA_1 = """
CREATE TABLE history (position INTEGER PRIMARY KEY AUTOINCREMENT, item NOT NULL, label INTEGER NOT NULL,
                      timestamp INTEGER NOT NULL);
CREATE TABLE samples (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, item NOT NULL,
                      label INTEGER NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO history (item, label, timestamp) VALUES (101, 1, 5), ('101', 0, 6), (102, 1, 7), (101, 0, 8);
INSERT INTO samples (position, item, label) VALUES (1, 101, 1), (1, 110, 0), (4, 101, 0);
INSERT INTO counters VALUES ('upload_sequence', 7);
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path):
    (tmp_path / "device").mkdir()
    path = tmp_path / "device" / "samples.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA_1)
    connection.close()
    return path


def test_schema_1_comes_forward_with_all_that_it_held(old):
    database = Database(old)
    log = SampleLog(database)
    assert log.newest(9).items == [101, "101", 102, 101]
    assert log.newest(9).labels.tolist() == [1, 0, 1, 0]
    logged = log.read()
    assert (logged.items, logged.labels.tolist(), logged.at.tolist()) == ([101, 110, 101], [1, 0, 0], [0, 0, 3])
    assert log.met() == {101, "101", 102}
    assert database.counter("upload_sequence") == 7
    assert database.query("SELECT first, last FROM met WHERE item = 101") == [(1, 4)]
    assert database.query("PRAGMA user_version") == [(SCHEMA,)]


def test_a_device_goes_on_from_schema_1(old, bundle):
    with Device.open(old.parent, bundle) as device:
        device.log(103)
        assert device.state["log"] == {"history": 5, "samples": 4, "sample_interactions": 3}
        assert device.state["sequence"] == 7
    with Device.open(old.parent) as device:
        assert device.history_size == 5


def test_an_interrupted_migration_leaves_the_old_file(old, monkeypatch):
    broken = {1: "", 2: "CREATE TABLE met (item);\nCREATE TABLE history (twice);\n"}
    monkeypatch.setattr("device_runtime.log.database._ADDED", broken)
    with pytest.raises(Exception, match="history already exists"):
        Database(old)
    monkeypatch.undo()
    assert SampleLog(Database(old)).newest(9).items == [101, "101", 102, 101]


def test_a_newer_schema_is_named_and_left_alone(old):
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match=f"expected schema {SCHEMA} or older, got 99; use a newer version"):
        Database(old)

"""Files of older schemas come forward without loss, newer ones are left alone, and damage is told from a bad disk."""

import os
import sqlite3

import pytest

from device_runtime import Device, StateError, StorageError
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


@pytest.mark.parametrize(
    "column", ["label INTEGER NOT NULL,", "facts TEXT NOT NULL", "digest BLOB NOT NULL", "reason TEXT", "last INTEGER"]
)
def test_a_schema_that_is_damaged_is_damage_and_can_be_set_aside(tmp_path, bundle, column):
    with Device.open(tmp_path / "device", bundle) as device:
        device.log(101)
    file = tmp_path / "device" / "samples.sqlite"
    content = file.read_bytes()
    assert column.encode() in content
    file.write_bytes(content.replace(column.encode(), b"x" + column[1:].encode()))
    with pytest.raises(StateError, match=r"samples.sqlite: damaged \(.*on_damage='reset'"):
        Device.open(tmp_path / "device")
    with Device.open(tmp_path / "device", on_damage="reset") as device:
        assert "samples.sqlite" in device.opening.damaged
        assert device.history_size == 0


def test_a_lock_of_another_process_is_no_damage(old):
    database = Database(old)
    database.query("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(old, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"cannot be read or written \(database is locked\); nothing was changed"):
        database.raise_counter("any", 1)
    other.close()


def test_a_file_that_cannot_be_opened_is_no_damage(tmp_path):
    (tmp_path / "samples.sqlite").mkdir()
    with pytest.raises(StorageError, match="unable to open database file"):
        Database(tmp_path / "samples.sqlite")
    with pytest.raises(StorageError, match="cannot be written"):
        Database(tmp_path / "absent" / "samples.sqlite")


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX's")
def test_what_a_device_keeps_is_its_owner_s_alone(tmp_path, bundle):
    def mode(path):
        return oct(path.stat().st_mode & 0o777)

    with Device.open(tmp_path / "device", bundle) as device:
        device.log(101)
        files = [mode(tmp_path / "device" / f"samples.sqlite{end}") for end in ("", "-wal", "-shm")]
        assert (mode(tmp_path / "device"), files) == ("0o700", ["0o600"] * 3)
    (tmp_path / "device").chmod(0o750)
    (tmp_path / "device" / "samples.sqlite").chmod(0o640)
    with Device.open(tmp_path / "device"):
        assert (mode(tmp_path / "device"), mode(tmp_path / "device" / "samples.sqlite")) == ("0o750", "0o640")

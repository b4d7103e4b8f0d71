"""A user is forgotten on a full disk too, and what fails half-way is finished by another call."""

import sqlite3

import pytest

from device_runtime import Device, StorageError
from protos import dccl_pb2
from tests.device.bundles import rewritten

SECRET = "a title that nobody else has"


class NoRoom:
    """A connection to a database on a disk that has no room for some statements."""

    def __init__(self, connection, statement):
        self._connection, self._statement = connection, statement

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        if statement.startswith(self._statement):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(statement, *values)


@pytest.fixture
def device(tmp_path, bundle_path):
    words = dccl_pb2.Vocabulary(string_ids=[SECRET, *map(str, range(19))])
    with Device.open(tmp_path / "device", rewritten(bundle_path, tmp_path / "words", vocabulary=words)) as device:
        device.log(SECRET)
        device.rank([SECRET], exclude_history=True)  # reads the history and what was met into memory
        yield device


def test_without_room_to_rewrite_the_file_what_is_deleted_is_overwritten_in_its_place(tmp_path, device):
    database = device._folder.database
    database._connection = NoRoom(database._connection, "VACUUM")
    device.reset(forget_user=True)
    assert device.history_size == 0
    files = list((tmp_path / "device").glob("samples.sqlite*"))
    assert len(files) == 3
    assert not any(SECRET.encode() in file.read_bytes() for file in files)


@pytest.mark.parametrize(
    ("statement", "left", "message"),
    [("DELETE FROM met", 1, "nothing was changed"), ("PRAGMA wal_checkpoint", 0, "may still be in the file, call")],
)
def test_what_fails_half_way_is_said_and_can_be_called_again(tmp_path, device, statement, left, message):
    aside = tmp_path / "device" / "state.bin.damaged"
    aside.write_text(SECRET)
    database = device._folder.database
    whole, database._connection = database._connection, NoRoom(database._connection, statement)
    with pytest.raises(StorageError, match=message):
        device.reset(forget_user=True)
    assert not aside.exists()  # files go first
    assert device.history_size == left
    assert len(device.rank([SECRET], exclude_history=True)[0]) == 1 - left  # nothing of the user stays in memory
    database._connection = whole
    device.reset(forget_user=True)
    assert device.history_size == 0


def test_a_file_that_cannot_be_removed_is_said(tmp_path, device):
    (tmp_path / "device" / "state.bin.damaged").mkdir()
    with pytest.raises(StorageError, match=r"state.bin.damaged: cannot be removed"):
        device.reset(forget_user=True)

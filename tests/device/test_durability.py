"""What survives a kill, a full disk and many days."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from device_runtime import Device, StateError, StorageError
from device_runtime.database import Database
from device_runtime.engine import VectorState
from device_runtime.samples import SampleLog
from device_runtime.state import DeviceState, load_state, save_state

# Logs an interaction and replaces the state for ever; says which number is safe only once it is.
WRITER = """
import sys
from pathlib import Path
import numpy as np
from device_runtime.engine import VectorState
from device_runtime.database import Database
from device_runtime.samples import Interaction, SampleLog
from device_runtime.state import DeviceState, save_state
folder = Path(sys.argv[1])
log, number = SampleLog(Database(folder / "samples.sqlite")), int(sys.argv[2])
while True:
    number += 1
    log.append([Interaction(number, 1, 0, (0,))])
    vector = np.full(16, number, np.float32)
    save_state(folder / "state.bin", DeviceState(bytes(32), VectorState.start(vector), vector, sequence=number))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_a_kill_leaves_the_old_or_the_new_state_and_every_acknowledged_interaction(tmp_path):
    chance, acknowledged = random.Random(0), 0
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        writer.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.05))
        writer.kill()
        lines = writer.stdout.read().split()
        writer.wait()
        acknowledged = max([acknowledged + 1, *map(int, lines)])
        state = load_state(tmp_path / "state.bin")
        assert state.sequence in (acknowledged, acknowledged + 1)
        np.testing.assert_array_equal(state.current.vector, np.full(16, state.sequence, np.float32))
        database = Database(tmp_path / "samples.sqlite")
        items = SampleLog(database).newest(10**6).items
        database.close()
        assert items == list(range(1, len(items) + 1))
        assert len(items) in (acknowledged, acknowledged + 1)
        acknowledged = len(items)


def state(value):
    vector = np.full(4, value, np.float32)
    return DeviceState(bytes(32), VectorState.start(vector), vector, profile={"age": "old"})


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_previous_state(tmp_path, monkeypatch, call):
    path = tmp_path / "state.bin"
    save_state(path, state(1.0))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"device_runtime.files.os.{call}", full)
    with pytest.raises(StorageError, match=r"state.bin: cannot be written \(No space left on device\)"):
        save_state(path, state(2.0))
    monkeypatch.undo()
    assert load_state(path).current.vector.tolist() == [1.0] * 4


def test_a_state_comes_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 32)).astype(np.float32)
    current = VectorState(*vectors[:3], np.array([7], np.float32))
    before = DeviceState(b"b" * 32, current, vectors[3], gate=1.0, sequence=9, samples=123, profile={"age": 25})
    save_state(tmp_path / "state.bin", before)
    after = load_state(tmp_path / "state.bin")
    for one, other in zip([*before.current, before.anchor], [*after.current, after.anchor], strict=True):
        np.testing.assert_array_equal(one, other)
    assert before.summary() == after.summary()
    assert (tmp_path / "state.bin").stat().st_size < 1024


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write into a read-only folder")
def test_a_read_only_folder_is_said(tmp_path, bundle):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be used as a state folder"):
        Device.open(tmp_path / "device", bundle)


def test_a_log_that_cannot_be_written_is_said_and_loses_nothing(device):
    device.log(101)
    device._folder.database._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StorageError, match=r"cannot be read or written .* nothing was changed"):
        device.log(102)
    device._folder.database._connection.execute("PRAGMA query_only = 0")
    device.log(103)
    assert device._folder.samples.newest(5).items == [101, 103]


def test_a_closed_device_says_so(device):
    device.close()
    with pytest.raises(StateError, match="open the device again"):
        device.log(101)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_memory_does_not_grow_with_steps_or_openings(tmp_path, bundle, runtime):
    def day():
        with Device.open(tmp_path / "device", bundle) as device:
            device.log_many(range(101, 109), skipped=[[110]] * 8)
            device.personalize()
            device.prune(keep=8)

    unused = {"unused": np.zeros(1, np.float32)}
    for _ in range(20):
        day()
        runtime.call("get", **unused)
    before = resident()
    for _ in range(60):
        day()
    for _ in range(3000):
        runtime.call("get", **unused)
    assert resident() - before < 5e6

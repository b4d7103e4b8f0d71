"""What survives a kill, a full disk and many days."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from device_runtime import Device, StateError, StorageError
from device_runtime.interpreter.engine import VectorState
from device_runtime.log.database import Database
from device_runtime.log.samples import SampleLog
from device_runtime.state.device_state import DeviceState, load_state, save_state

# On each number that it reads, forks a writer that goes on from there: it logs an interaction and replaces the state
# for ever, and says which number is safe only once it is.
WRITERS = """
import os, sys
from pathlib import Path
import numpy as np
from device_runtime.interpreter.engine import VectorState
from device_runtime.log.database import Database
from device_runtime.log.samples import Interaction, SampleLog
from device_runtime.state.device_state import DeviceState, save_state

def write(folder, number):
    log = SampleLog(Database(folder / "samples.sqlite"))
    while True:
        number += 1
        log.append([Interaction(number, 1, 0, (0,))])
        vector = np.full(16, number, np.float32)
        save_state(folder / "state.bin", DeviceState(bytes(32), VectorState.start(vector), vector, sequence=number))
        os.write(1, b"%d\\n" % number)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write(Path(sys.argv[1]), int(line))
    os.write(1, b"pid %d\\n" % child)
    os.waitpid(child, 0)
    os.write(1, b"killed\\n")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_50_kills_leave_the_old_or_the_new_state_and_every_acknowledged_interaction(tmp_path):
    chance, acknowledged = random.Random(0), 0
    command = [sys.executable, "-c", WRITERS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writers:
        for _ in range(50):
            writers.stdin.write(f"{acknowledged}\n")
            writers.stdin.flush()
            lines = []  # the writer's numbers, and its pid among them
            while len(lines) < 2 or not any(line.startswith("pid ") for line in lines):
                lines.append(writers.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.04))
            os.kill(next(int(line.split()[1]) for line in lines if line.startswith("pid ")), signal.SIGKILL)
            lines += iter(writers.stdout.readline, "killed\n")
            acknowledged = max(int(line) for line in lines if not line.startswith("pid "))
            state = load_state(tmp_path / "state.bin")
            assert state.sequence in (acknowledged, acknowledged + 1)
            np.testing.assert_array_equal(state.current.vector, np.full(16, state.sequence, np.float32))
            database = Database(tmp_path / "samples.sqlite")
            items = SampleLog(database).newest(10**6).items
            database.close()
            assert items == list(range(1, len(items) + 1))
            assert len(items) in (acknowledged, acknowledged + 1)
            acknowledged = len(items)
        writers.stdin.close()


def state(value):
    vector = np.full(4, value, np.float32)
    return DeviceState(bytes(32), VectorState.start(vector), vector, profile={"age": "old"})


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_previous_state(tmp_path, monkeypatch, call):
    path = tmp_path / "state.bin"
    save_state(path, state(1.0))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"device_runtime.state.files.os.{call}", full)
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


# With no file allowed to grow beyond 256 KiB, a disk is full as far as the process can tell.
FULL = """
import resource, signal, sys
import numpy as np
from device_runtime import Device, StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))
with Device.open(sys.argv[1]) as device:
    logged = device.history_size
    for call in (device.log_many, device.remember):
        try:
            while True:
                call(range(101, 121))
                logged += 20
        except StorageError:
            pass
    print(logged, device.history_size, np.isfinite(device.scores([101])).all())
"""


@pytest.mark.skipif(os.name != "posix", reason="a limit of POSIX's")
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path, bundle):
    with Device.open(tmp_path / "device", bundle) as device:
        device.log(101)
    command = [sys.executable, "-c", FULL, str(tmp_path / "device")]
    done = subprocess.run(command, capture_output=True, text=True)
    logged, there, finite = done.stdout.split()
    assert (logged, finite) == (there, "True"), done.stderr
    with Device.open(tmp_path / "device") as device:
        assert device.history_size == int(logged) > 20
        device.log(102)


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
    assert resident() - before < 60 * 40e3  # 500 openings stay below 20 MB

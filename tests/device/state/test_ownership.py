"""Threads take turns; forks and second processes are refused by name."""

import errno
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from device_runtime import Device, StateError, StorageError

ITEMS = list(range(101, 121))


@pytest.fixture
def used(device):
    device.log_many([101, 104, 109, 115, 120] * 4, [1, 0, 1, 1, 0] * 4)
    device.personalize()
    return device


def in_threads(*works):
    problems = []

    def run(work):
        try:
            work()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def test_two_threads_with_two_models_never_mix_answers_in_5000_calls(used):
    gates = (0.0, 1.0)
    expected = [used.scores(ITEMS, gate=gate) for gate in gates]
    assert (expected[0] != expected[1]).any()
    wrong = [0, 0]

    def ask(which):
        for _ in range(2500):
            wrong[which] += not np.array_equal(used.scores(ITEMS, gate=gates[which]), expected[which])

    assert in_threads(lambda: ask(0), lambda: ask(1)) == []
    assert wrong == [0, 0]


def test_logging_ranking_and_training_at_once_lose_nothing(used):
    def log():
        for _ in range(40):
            used.log(110, skipped=[111])

    def rank():
        for _ in range(200):
            assert len(used.rank(ITEMS, k=5, exclude_history=True)[0]) <= 5

    def train():
        for _ in range(5):
            used.personalize()

    assert in_threads(log, log, rank, train) == []
    assert used.state["log"]["history"] == 20 + 80


FORK = """
import os, sys
from device_runtime import Device, StateError
device = Device.open(sys.argv[1], sys.argv[2])
device.log(101)
calls = {
    "log": lambda: device.log(102), "rank": lambda: device.rank([101]), "personalize": device.personalize,
    "upgrade": lambda: device.upgrade(sys.argv[2]), "rollback": device.rollback, "upload": device.upload,
    "send": lambda: device.send("https://127.0.0.1"), "events": device.events, "prune": lambda: device.prune(1),
    "reset": device.reset, "state": lambda: device.state, "history_size": lambda: device.history_size,
}
read, write = os.pipe()
if os.fork() == 0:
    refused = []
    for name, call in calls.items():
        try:
            call()
        except StateError as error:
            refused += [name] if "which opened it, got process" in str(error) else []
    device.close()
    os.write(write, " ".join(refused).encode())
    os._exit(0)
os.close(write)
refused = os.fdopen(read).read().split()
os.wait()
device.log(103)
print(refused == list(calls), device.history_size)
device.close()
Device.open(sys.argv[1]).close()
print("reopened")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_refused_and_the_parent_goes_on(bundle_path, tmp_path):
    command = [sys.executable, "-c", FORK, str(tmp_path / "device"), str(bundle_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True 2\nreopened\n", done.stderr


LOCKED_BY_A_CHILD = """
import os, sys, time
from device_runtime import Device
device = Device.open(sys.argv[1], sys.argv[2])
if os.fork() == 0:
    time.sleep(60)
device.close()
Device.open(sys.argv[1]).close()
print("reopened")
os.kill(0, 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_lives_on_does_not_hold_the_folder(bundle_path, tmp_path):
    command = [sys.executable, "-u", "-c", LOCKED_BY_A_CHILD, str(tmp_path / "device"), str(bundle_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert done.stdout == "reopened\n", done.stderr


def test_a_second_process_is_refused_by_name(used):
    program = "import sys; from device_runtime import Device; Device.open(sys.argv[1])"
    command = [sys.executable, "-c", program, str(used._folder.path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "StateError" in done.stderr
    assert "another device object or process has this state folder open; close it first" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="POSIX's call")
def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, bundle, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StorageError, match=r"cannot be used as a state folder \(No locks available\)"):
        Device.open(tmp_path / "device", bundle)


def test_a_closed_device_says_so_whatever_is_asked(used):
    used.rank(ITEMS)
    used.close()
    used.close()
    for call in (lambda: used.rank(ITEMS), lambda: used.log(101), lambda: used.state, used.personalize, used.events):
        with pytest.raises(StateError, match="open the device again"):
            call()


@pytest.mark.parametrize("call", ["reset", "personalize", "close", "rollback"])
def test_a_training_is_not_changed_from_within(used, call):
    """Its end would store a vector over what the call did: that of a user who was forgotten, say."""
    before = used.vector
    with pytest.raises(StateError, match="from within one of them, such as from on_step"):
        used.personalize(on_step=lambda *_: getattr(used, call)())
    np.testing.assert_array_equal(used.vector, before)
    assert used.personalize().steps > 0  # and the device is as usable as before

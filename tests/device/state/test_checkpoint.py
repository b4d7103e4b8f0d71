"""Personalisation within a budget: interrupted anywhere it goes on bit for bit, and a checkpoint that does not fit is
dropped with its reason."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from device_runtime import Device, PersonalizeConfig, StateError, StorageError
from device_runtime.interpreter.engine import VectorState
from device_runtime.state.checkpoint import Checkpoint, CheckpointFile, Progress, Task, fingerprint

CONFIG = PersonalizeConfig(epochs=4)
CALLS = {"seconds", "steps_before", "peak_memory"}  # of a report, what speaks of the call and not of the training


def fill(device, count=23, seed=0):
    """Logs `count` interactions: 19 rows of training, 5 steps an epoch."""
    items = np.random.default_rng(seed).integers(101, 121, count)
    device.log_many(items, items % 2)


def opened(folder, bundle):
    return Device.open(folder, bundle, profile={"age": "old"})


def lived(device):
    """All that a training leaves: report, vector, optimiser, gate."""
    return device._in_use.state.current, device.gate


def same(one, other):
    for left, right in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(left, right)
    assert one[1] == other[1]


def told(report):
    return {name: value for name, value in report.to_dict().items() if name not in CALLS}


@pytest.fixture
def straight(tmp_path, bundle):
    """What one uninterrupted call does."""
    with opened(tmp_path / "straight", bundle) as device:
        fill(device)
        report = device.personalize(CONFIG)
        return report, lived(device)


def finish(folder, bundle, config=CONFIG):
    """Opens the device anew for each call, until one ends the training."""
    for calls in range(1, 100):
        with opened(folder, bundle) as device:
            report = device.personalize(config)
            if not report.interrupted:
                return report, lived(device), calls
    raise AssertionError("it never ended")


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 19])
def test_a_training_in_pieces_is_the_training_in_one(tmp_path, bundle, straight, steps):
    with opened(tmp_path / "pieces", bundle) as device:
        fill(device)
    report, end, calls = finish(tmp_path / "pieces", bundle, dataclasses.replace(CONFIG, max_steps=steps))
    assert report.steps == 4 * 5
    assert calls == -(-20 // steps)
    assert told(report) == told(straight[0])
    same(end, straight[1])


@pytest.mark.parametrize(
    ("budget", "stop", "name"),
    [
        ({"max_steps": 7}, None, "max_steps"),
        ({"max_seconds": 0.0}, None, "max_seconds"),
        ({}, 7, "should_stop"),
    ],
)
def test_the_report_names_what_ended_the_call(device, budget, stop, name):
    fill(device)
    left = iter(range(stop or 0))
    should_stop = None if stop is None else lambda: next(left, None) is None
    report = device.personalize(dataclasses.replace(CONFIG, **budget), should_stop=should_stop)
    assert (report.stopped, report.interrupted) == (name, True)
    assert report.steps == (1 if name == "max_seconds" else 7)  # a call gets on, however little time it has


def test_what_was_learned_until_then_is_in_use_and_weighed_like_an_epoch(device):
    fill(device)
    report = device.personalize(dataclasses.replace(CONFIG, max_steps=7))
    assert len(report.losses) == len(report.heldout_losses) == 2  # five steps, and two
    assert device.state["steps"] in (5, 7)
    assert report.personal_loss == min(report.heldout_losses)


def test_the_next_call_says_what_was_done_before(device):
    fill(device)
    device.personalize(dataclasses.replace(CONFIG, max_steps=7))
    report = device.personalize(CONFIG)
    assert (report.steps_before, report.steps, report.stopped) == (7, 20, "finished")
    assert report.checkpoint_dropped is None


def test_rows_logged_meanwhile_wait_for_the_training_after(tmp_path, bundle, straight):
    with opened(tmp_path / "device", bundle) as device:
        fill(device)
        device.personalize(dataclasses.replace(CONFIG, max_steps=7))
        fill(device, 10, seed=1)
        device.remember([105, 106])
        report = device.personalize(CONFIG)
        assert told(report) == told(straight[0])
        same(lived(device), straight[1])
        assert device.personalize(CONFIG).samples == 33 - 6  # floor(0.2 * 33) are held out


def test_a_kill_at_any_step_costs_nothing_but_time(tmp_path, bundle, bundle_path, straight):
    program = (
        "import os, signal, sys\n"
        "from device_runtime import Device, PersonalizeConfig\n"
        "from device_runtime.learning import learner\n"
        "learner._CHECKPOINT_SECONDS = 0.0\n"
        "def on_step(epoch, step, loss):\n"
        "    if 5 * epoch + step == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "with Device.open(sys.argv[1]) as device:\n"
        "    device.personalize(PersonalizeConfig(epochs=4), on_step=on_step)\n"
    )
    folder = tmp_path / "killed"
    with opened(folder, bundle) as device:
        fill(device)
    for step in (3, 8, 12, 19):
        done = subprocess.run([sys.executable, "-c", program, str(folder), str(step)], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    report, end, _ = finish(folder, bundle)
    assert report.steps_before == 19
    assert told(report) == told(straight[0])
    same(end, straight[1])


def test_a_full_disk_at_the_end_costs_no_more_than_a_kill(tmp_path, bundle, straight, monkeypatch):
    with opened(tmp_path / "device", bundle) as device:
        fill(device)
        assert device.personalize(dataclasses.replace(CONFIG, max_steps=18)).interrupted
        with monkeypatch.context() as disk:
            disk.setattr(device._folder, "save", full_disk)
            with pytest.raises(StorageError, match="full"):
                device.personalize(CONFIG)
        report = device.personalize(CONFIG)
        assert report.steps_before == 18
        assert told(report) == told(straight[0])
        same(lived(device), straight[1])
        assert not device._folder.checkpoint.path.exists()


def test_a_checkpoint_that_cannot_be_read_is_dropped(tmp_path, bundle, straight):
    with opened(tmp_path / "device", bundle) as device:
        fill(device)
        device._folder.checkpoint.path.mkdir()
        report = device.personalize(CONFIG)
        assert "cannot be read" in report.checkpoint_dropped
        same(lived(device), straight[1])


def test_what_is_remembered_after_the_newest_sample_does_not_end_a_training(tmp_path, bundle):
    with opened(tmp_path / "device", bundle) as device:
        fill(device)
        device.remember([105, 106])
        steps = [device.personalize(dataclasses.replace(CONFIG, max_steps=5)).steps for _ in range(4)]
        assert steps == [5, 10, 15, 20]


def full_disk(*_):
    raise StorageError("the disk is full")


def test_a_kill_between_checkpoint_and_state_costs_nothing(tmp_path, bundle, straight, monkeypatch):
    with opened(tmp_path / "device", bundle) as device:
        fill(device)
        device.personalize(dataclasses.replace(CONFIG, max_steps=7))
        monkeypatch.setattr(device._in_use, "save", lambda state: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            device.personalize(dataclasses.replace(CONFIG, max_steps=4))
    report, end, _ = finish(tmp_path / "device", bundle)
    assert (report.steps_before, report.checkpoint_dropped) == (11, None)
    same(end, straight[1])


def test_an_ended_training_leaves_no_checkpoint(device):
    fill(device)
    device.personalize(dataclasses.replace(CONFIG, max_steps=7))
    assert device._folder.checkpoint.path.exists()
    device.personalize(CONFIG)
    assert not device._folder.checkpoint.path.exists()


def test_a_call_that_did_no_step_leaves_none(device):
    fill(device)
    device.personalize(should_stop=lambda: True)
    assert not device._folder.checkpoint.path.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda device: device.prune(keep=20), "another log"),
        (lambda device: setattr(device._in_use, "profile", np.array([1], np.int32)), "another log or profile"),
        (
            lambda device: device._in_use.save(dataclasses.replace(device._in_use.state, anchor=device.vector + 1)),
            "another vector",
        ),
        (lambda device: device._folder.checkpoint.path.write_bytes(b""), "not a file of the kind DCCLCKP"),
        (lambda device: device._folder.checkpoint.path.write_bytes(os.urandom(500)), "not a file of the kind"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_dropped_with_its_reason(device, change, reason):
    fill(device)
    device.personalize(dataclasses.replace(CONFIG, max_steps=7))
    change(device)
    report = device.personalize(CONFIG)
    assert reason in report.checkpoint_dropped
    assert (report.steps_before, report.stopped) == (0, "finished")


def test_other_settings_are_another_training(device):
    fill(device)
    device.personalize(dataclasses.replace(CONFIG, max_steps=7))
    report = device.personalize(dataclasses.replace(CONFIG, learning_rate=0.01))
    assert report.checkpoint_dropped == "it belongs to other settings"


def test_a_reset_begins_again(device):
    fill(device)
    device.personalize(dataclasses.replace(CONFIG, max_steps=7))
    device.reset()
    report = device.personalize(CONFIG)
    assert (report.steps_before, report.checkpoint_dropped) == (0, None)


def checkpoint():
    rng = np.random.default_rng(0)
    states = [VectorState(*rng.normal(size=(3, 4)).astype(np.float32), np.ones(1, np.float32)) for _ in range(2)]
    progress = Progress(*states, 0.5, 1, 0.6, 2, 3, 13, 0.1, (0.7, 0.3), (np.inf, 0.5))
    return Checkpoint(Task("ab", {"seed": 0}, 7, "cd"), ("ef",), progress)


def test_it_comes_back_bit_for_bit():
    before = checkpoint()
    after = Checkpoint.from_bytes(before.to_bytes())
    assert after.to_bytes() == before.to_bytes()
    assert (after.task, after.fits, after.progress.losses) == (before.task, before.fits, before.progress.losses)
    np.testing.assert_array_equal(after.progress.best.vector, before.progress.best.vector)


@pytest.mark.parametrize("place", range(0, 700, 23))
def test_any_damage_is_found(tmp_path, place):
    content = bytearray(checkpoint().to_bytes())
    content[place % len(content)] ^= 1
    file = CheckpointFile(tmp_path / "training.bin")
    file.path.write_bytes(content)
    with pytest.raises(StateError):
        file.load()
    file.path.write_bytes(content[:place])
    with pytest.raises(StateError):
        file.load()


def test_what_the_device_may_have_in_use_is_the_start_and_the_newest_two():
    one = checkpoint().left("1").left("2").left("3")
    assert one.fits == ("ef", "2", "3")


def test_a_fingerprint_tells_any_change():
    state = checkpoint().progress.current
    anchor = np.zeros(4, np.float32)
    others = [state._replace(step=state.step + 1), state._replace(second_moment=anchor)]
    assert len({fingerprint(one, anchor) for one in (state, *others)} | {fingerprint(state, anchor + 1)}) == 4


def test_a_copy_of_the_folder_goes_on_too(tmp_path, bundle, straight):
    with opened(tmp_path / "device", bundle) as device:
        fill(device)
        device.personalize(dataclasses.replace(CONFIG, max_steps=9))
    shutil.copytree(tmp_path / "device", tmp_path / "moved")
    _, end, _ = finish(tmp_path / "moved", bundle)
    same(end, straight[1])

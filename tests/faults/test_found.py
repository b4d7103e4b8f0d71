"""What fuzzing found, one case of each kind, so that it stays found."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from device_runtime import Bundle, BundleError, Device, InputError, PersonalizeConfig, StateError, load_runtime
from device_runtime.log.samples import LogLimits


@pytest.fixture
def device(tmp_path, bundle_path):
    with Device.open(tmp_path / "device", bundle_path) as device:
        device.log_many(range(101, 111), skipped=[[120]] * 10)
        yield device


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE history SET item = x'00' WHERE position = 3",
        "UPDATE history SET label = 'a' WHERE position = 3",
        "UPDATE history SET timestamp = 0.5 WHERE position = 3",
        "UPDATE samples SET item = 1.5 WHERE number = 3",
        "UPDATE samples SET label = x'' WHERE number = 3",
        "UPDATE samples SET position = 99 WHERE number = 3",
        "DELETE FROM history WHERE position = 3",
        "DELETE FROM samples WHERE number = 3",
        "UPDATE counters SET value = 'a'",
    ],
)
def test_rows_that_were_never_written_are_damage(tmp_path, bundle_path, device, damage):
    device._folder.database.raise_counter("any", 1)
    device.close()
    with sqlite3.connect(tmp_path / "device" / "samples.sqlite") as db:
        db.execute(damage)
    db.close()
    with pytest.raises(StateError, match=r"samples.sqlite: damaged \(rows that were never written\)"):
        Device.open(tmp_path / "device", bundle_path)


@pytest.mark.parametrize("column", ["labels", "skipped", "timestamps"])
@pytest.mark.parametrize(
    "value", [1, 0.5, np.array(1), (n for n in ()), "ab", {1: 1}], ids=lambda value: type(value).__name__
)
def test_a_column_that_is_no_list_is_refused(device, column, value):
    with pytest.raises(InputError, match=f"{column}: expected a list of values"):
        device.log_many([101, 102], **{column: value})


@pytest.mark.parametrize("path", [1, None, ("a",), {}])
def test_a_bundle_that_is_no_path_is_refused(path):
    with pytest.raises(InputError, match="bundle: expected an open Bundle or the path"):
        Bundle.open(path)


@pytest.mark.parametrize("path", ["\0", "\ud800", "x" * 10**5])
def test_a_path_that_no_system_takes_is_refused(path):
    with pytest.raises(BundleError, match="bundle: "):
        Bundle.open(Path(path))


@pytest.mark.parametrize("value", [np.arange(3), [], {}])
def test_a_choice_that_is_no_string_is_refused(tmp_path, bundle_path, value):
    with pytest.raises(InputError, match="on_bundle_change: expected rebase, keep, reset"):
        Device.open(tmp_path / "new", bundle_path, on_bundle_change=value)
    with pytest.raises(InputError, match="on_damage: expected error or reset"):
        Device.open(tmp_path / "new", bundle_path, on_damage=value)


@pytest.mark.parametrize("profile", [np.arange(3), [], 0])
def test_a_profile_that_is_no_dict_is_refused(tmp_path, bundle_path, profile):
    with pytest.raises(InputError, match="profile: expected a dict"):
        Device.open(tmp_path / "new", bundle_path, profile=profile)


@pytest.mark.parametrize("signature", [[], np.arange(3), None])
def test_a_signature_that_is_no_name_is_refused(bundle_path, signature):
    with pytest.raises(InputError, match="unknown signature"):
        load_runtime(Bundle.open(bundle_path).model).call(signature)


def test_numbers_of_numpy_are_settings_like_any_other(device):
    config = PersonalizeConfig(epochs=np.int64(2), seed=np.uint64(3), learning_rate=np.float32(0.5), max_steps=1)
    assert device.personalize(config).stopped == "max_steps"
    assert device.personalize(PersonalizeConfig(epochs=2, seed=3, learning_rate=0.5)).steps_before == 1


def test_any_number_of_epochs_may_be_ended_by_a_budget(device):
    assert device.personalize(PersonalizeConfig(epochs=10**12, max_steps=4)).steps == 4


@pytest.mark.parametrize("damage", ["null", "{", "[1]", ""])
def test_an_event_that_is_damaged_leaves_the_others_readable(tmp_path, device, damage):
    device.personalize(PersonalizeConfig(epochs=1))
    device.close()
    with sqlite3.connect(tmp_path / "device" / "samples.sqlite") as db:
        db.execute("UPDATE events SET facts = ? WHERE kind = 'opening'", (damage,))
    db.close()
    with Device.open(tmp_path / "device") as again:
        events = again.events()
    assert events[0].facts == {"unreadable": damage}
    assert events[1].kind == "personalize"
    assert events[1].facts["steps"] > 0


@pytest.mark.parametrize("gate", [10**400, 1e39, float("nan"), -float("inf")])
def test_a_gate_beyond_float32_is_refused(device, gate):
    with pytest.raises(InputError, match="gate: expected a finite number"):
        device.rank([101], gate=gate)


def test_numbers_beyond_sqlite_s_are_as_good_as_all(device):
    assert len(device.events(newest=10**30)) == 1
    device.prune(keep=10**30)
    assert device.history_size == 10


@pytest.mark.parametrize("name", ["samples", "history", "met", "days"])
def test_limits_beyond_sqlite_s_numbers_are_refused(name):
    with pytest.raises(InputError, match=f"limits.{name}: expected"):
        LogLimits(**{name: 10**30})

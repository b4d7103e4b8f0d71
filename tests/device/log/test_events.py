"""The log of what happened to a device."""

import pytest

from device_runtime import Device, InputError, StorageError
from device_runtime.log.events import KINDS
from tests.device.bundles import successor


def kinds(device, newest=20):
    return [event.kind for event in device.events(newest)]


def kinds_of(folder):
    with Device.open(folder) as device:
        return kinds(device)


def test_a_life_is_told_in_order(tmp_path, bundle, bundle_path):
    next_path = successor(bundle_path, tmp_path / "next")
    with Device.open(tmp_path / "device", bundle) as device:
        device.log_many(range(101, 121))
        device.personalize()
        device.upgrade(next_path)
        device.rollback()
        with pytest.raises(Exception, match="rolled back"):
            device.upgrade(next_path)
        device.reset()
    with Device.open(tmp_path / "device") as device:
        told = kinds(device)
        assert told == ["opening", "personalize", "upgrade", "rollback", "refusal", "reset"]
        assert set(told) <= set(KINDS)


def test_openings_in_which_nothing_happened_are_no_events(tmp_path, bundle):
    for _ in range(3):
        with Device.open(tmp_path / "device", bundle, profile={"age": "old"}) as device:
            device.rank([101])
    assert kinds_of(tmp_path / "device") == ["opening"]
    (tmp_path / "device" / "state.bin").write_bytes(b"damage")
    Device.open(tmp_path / "device", on_damage="reset").close()
    assert kinds_of(tmp_path / "device") == ["opening", "opening"]


def test_an_opening_that_found_a_damaged_log_is_told(tmp_path, bundle):
    Device.open(tmp_path / "device", bundle).close()
    (tmp_path / "device" / "samples.sqlite").write_bytes(b"damage" * 1000)
    with Device.open(tmp_path / "device", on_damage="reset") as device:
        (event,) = device.events()
    assert (event.kind, event.facts["how"], event.facts["damaged"]) == ("opening", "resumed", ["samples.sqlite"])


def test_an_opening_that_refused_a_bundle_tells_that_alone(tmp_path, bundle, bundle_path):
    next_path = successor(bundle_path, tmp_path / "next")
    with Device.open(tmp_path / "device", bundle) as device:
        device.upgrade(next_path)
        device.rollback()
    with Device.open(tmp_path / "device", next_path) as device:
        assert kinds(device, newest=2) == ["rollback", "refusal"]


def test_a_personalisation_tells_its_losses_its_gate_and_its_time(device):
    device.log_many(range(101, 121), [0, 1] * 10)
    report = device.personalize()
    facts = device.events(newest=1)[0].facts
    assert facts["gate"] == report.gate
    assert facts["cloud_loss"] == report.cloud_loss
    assert tuple(facts["losses"]) == report.losses
    assert facts["seconds"] > 0
    assert facts["stopped"] == "finished"


def test_the_newest_are_kept_up_to_a_bound(device, monkeypatch):
    monkeypatch.setattr("device_runtime.log.events._KEPT", 10)
    for number in range(15):
        device._folder.events.add("reset", number=number)
    assert [event.facts["number"] for event in device.events(newest=5000)] == list(range(5, 15))


def test_an_event_that_cannot_be_written_stops_nothing(device, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def full():
        raise StorageError("disk full")
        yield

    monkeypatch.setattr(device._folder.events._database, "transaction", full)
    device._folder.events.add("reset")
    monkeypatch.undo()
    assert device.state["events_lost"] == 1


@pytest.mark.parametrize("newest", [0, -1, 1.5, True, "3"])
def test_a_number_of_events_that_is_none_is_refused(device, newest):
    with pytest.raises(InputError, match="newest: expected a whole number of at least 1"):
        device.events(newest)

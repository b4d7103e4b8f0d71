"""Which release a device is offered."""

import hashlib

import pytest

from dccl_tf.collector.rollout import Release, offered, place

OLD, NEW = b"o" * 32, b"n" * 32
DEVICES = [f"device-{number}" for number in range(2000)]


def release(bundle, percent=100.0, state="active"):
    return Release(1, bundle, percent, state, {"identity": 1}, 0.0, 0.0)


def offers(*newest_first, device_id="d1", holding=None):
    found = offered(newest_first, device_id, holding)
    return found and found.bundle


def test_place_by_hand():
    """The first 8 bytes of SHA-256(bundle, id), as a share of 2^64, in percent."""
    digest = hashlib.sha256(NEW + b"d1").digest()
    assert place("d1", NEW) == int.from_bytes(digest[:8], "big") / 2**64 * 100


def test_the_newest_is_offered():
    assert offers(release(NEW), release(OLD)) == NEW
    assert offers() is None


@pytest.mark.parametrize("percent", [0, 10, 50, 100])
def test_as_many_devices_as_asked_get_the_new_one(percent):
    """2,000 devices: a share within four standard deviations of a coin with that bias."""
    share = sum(offers(release(NEW, percent), device_id=name) == NEW for name in DEVICES) / len(DEVICES)
    assert abs(share - percent / 100) <= 4 * (percent / 100 * (1 - percent / 100) / len(DEVICES)) ** 0.5


def test_widening_takes_the_bundle_from_nobody():
    early = {name for name in DEVICES if offers(release(NEW, 10), release(OLD), device_id=name) == NEW}
    later = {name for name in DEVICES if offers(release(NEW, 30), release(OLD), device_id=name) == NEW}
    assert early < later


def test_other_devices_are_first_for_another_bundle():
    """Two draws of 10% of 2,000: 1% are in both, 20, with a standard deviation of 4.4."""
    first = {name for name in DEVICES if offers(release(NEW, 10), device_id=name)}
    second = {name for name in DEVICES if offers(release(OLD, 10), device_id=name)}
    assert len(first & second) < 40


def test_whoever_does_not_say_who_it_is_gets_what_is_for_all():
    assert offers(release(NEW, 99.9), release(OLD), device_id=None) == OLD


def test_a_halted_release_stays_with_whoever_has_it():
    assert offers(release(NEW, state="halted"), release(OLD)) == OLD
    assert offers(release(NEW, state="halted"), release(OLD), holding=NEW) == NEW


def test_a_release_that_was_rolled_back_is_for_nobody():
    assert offers(release(NEW, state="rolled_back"), release(OLD), holding=NEW) == OLD

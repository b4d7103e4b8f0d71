"""Which vectors teach, and from how far."""

from dataclasses import replace

import numpy as np
import pytest

from dccl_tf import fleet
from dccl_tf.fleet import FleetConfig
from dccl_tf.trust import Trust, clipped, replayed
from tests.training.conftest import USERS
from tests.training.test_teachers import uploads


def test_far_vectors_come_back_to_the_bound_and_the_others_stay():
    # The median is (0, 0), the distances 1, 1, 0, 1, 10 have the median 1: (10, 0) comes back to (2, 0).
    vectors = np.array([[0, 1], [0, -1], [0, 0], [-1, 0], [10, 0]], np.float32)
    expected = vectors.copy()
    expected[4] = [2, 0]
    np.testing.assert_array_equal(clipped(vectors, 2.0), expected)


def test_clipping_keeps_the_direction_from_the_median():
    vectors = np.random.default_rng(0).normal(5.0, 1.0, (101, 8)).astype(np.float32)
    vectors[0] *= 1000.0
    centre = np.median(vectors, axis=0)
    before, after = vectors[0] - centre, clipped(vectors, 3.0)[0] - centre
    assert before @ after / np.linalg.norm(before) / np.linalg.norm(after) == pytest.approx(1.0, abs=1e-6)
    assert np.linalg.norm(after) < 20.0


@pytest.mark.parametrize("count", [0, 1, 3])
def test_vectors_that_are_all_alike_stay(count):
    vectors = np.full((count, 4), 2.0, np.float32)
    np.testing.assert_array_equal(clipped(vectors, 2.0), vectors)


def test_least_gain_wants_evidence():
    uploaded = uploads({"user-0": 1.0, "user-1": 1.0, "user-2": 1.0})
    uploaded.cloud_loss[:], uploaded.personal_loss[:] = [0.5, 0.5, np.nan], [0.25, 0.75, np.nan]
    np.testing.assert_array_equal(Trust(least_gain=0.0).applied(uploaded)[1], [True, False, False])
    np.testing.assert_array_equal(Trust(least_gain=-0.5).applied(uploaded)[1], [True, True, False])
    np.testing.assert_array_equal(Trust().applied(uploaded)[1], [True, True, True])


def test_the_cloud_finds_what_an_honest_device_reports(cloud, data):
    config = FleetConfig(epochs=2, learning_rate=0.05)
    devices = fleet.personalize(cloud, [data], config)
    names = {f"user-{user}": 0.0 for user in range(USERS)} | {"phone": 0.0}
    uploaded = uploads(names, gain=9.0)  # what they claim
    owners = np.array([int(name[5:]) if name != "phone" else 0 for name in uploaded.device_ids])
    uploaded = replace(uploaded, vectors=devices.vectors[owners])
    found = replayed(uploaded, cloud, [data], config)
    stranger = np.array([name == "phone" for name in uploaded.device_ids])
    for name in ("cloud_loss", "personal_loss"):
        expected = np.where(stranger, np.nan, getattr(devices, name)[owners])
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-5)


@pytest.mark.parametrize("setting", [{"norm_clip": 0.5}, {"norm_clip": float("nan")}, {"least_gain": float("inf")}])
def test_settings_that_mean_nothing_are_named(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        Trust(**setting)

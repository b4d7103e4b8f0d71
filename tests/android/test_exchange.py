"""What the Kotlin device wrote, read by the Python one. `scripts/test_android.sh` runs the Kotlin side first."""

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from dccl_tf.vectors import VectorStore
from device_runtime import Device, UploadNoise
from device_runtime.state.device_state import DeviceState, load_state
from protos import dccl_pb2
from protos.signing import verify
from tests.android.exchange import DEVICE_ID, KEY, PROFILE, Busy

FOLDER = Path(os.environ.get("DCCL_ANDROID_EXCHANGE", "nowhere"))

pytestmark = pytest.mark.skipif(
    not (FOLDER / "kotlin").is_dir(), reason="the Kotlin side has not run: bash scripts/test_android.sh"
)


@pytest.fixture
def made_by_kotlin():
    return load_state(FOLDER / "kotlin" / "device" / "state.bin")


def test_states_read_and_written_by_kotlin_are_the_same_bytes():
    for name in ("state.bin", "odd_state.bin"):
        assert (FOLDER / "kotlin" / name).read_bytes() == (FOLDER / name).read_bytes()


def test_a_state_made_by_kotlin_is_written_by_python_in_the_same_bytes(made_by_kotlin):
    content = (FOLDER / "kotlin" / "device" / "state.bin").read_bytes()
    assert made_by_kotlin.to_bytes() == content
    assert DeviceState.from_bytes(content).profile == PROFILE


def test_kotlin_arrives_at_pythons_vector(made_by_kotlin):
    ours = load_state(FOLDER / "state.bin")
    np.testing.assert_allclose(made_by_kotlin.current.vector, ours.current.vector, atol=1e-5)
    assert (made_by_kotlin.gate, made_by_kotlin.samples) == (ours.gate, ours.samples)


def test_a_folder_begun_in_kotlin_goes_on_in_python(made_by_kotlin, tmp_path):
    home = shutil.copytree(FOLDER / "kotlin" / "device", tmp_path / "device")
    with Device.open(home) as device:
        assert (device.opening.how, device.device_id, device.history_size) == ("resumed", DEVICE_ID, 60)
        np.testing.assert_array_equal(device.vector, made_by_kotlin.current.vector)
        assert device.upload() == (FOLDER / "kotlin" / "upload.bin").read_bytes()
        assert device.state["uploads_waiting"] == 1


def test_a_folder_that_went_on_in_kotlin_comes_back(tmp_path):
    home = shutil.copytree(FOLDER / "kotlin" / "continued", tmp_path / "device")
    with Device.open(home) as device:
        assert (device.opening.how, device.history_size) == ("resumed", 61)
        assert device.upload() == (FOLDER / "upload.bin").read_bytes()
        device.log(102)
        assert device.personalize().samples > 0


def test_a_device_that_kotlin_upgraded_is_rolled_back(made_by_kotlin, tmp_path):
    home = shutil.copytree(FOLDER / "kotlin" / "upgraded", tmp_path / "device")
    with Device.open(home) as device:
        assert device.rollback().how == "rollback"
        np.testing.assert_array_equal(device.vector, made_by_kotlin.current.vector)


def test_an_upload_with_noise_made_by_kotlin_is_the_one_python_finds(tmp_path):
    home = shutil.copytree(FOLDER / "kotlin" / "noisy", tmp_path / "device")
    with Device.open(home, noise=UploadNoise(clip_norm=1.0, noise_multiplier=0.5)) as device:
        assert device.upload() == (FOLDER / "kotlin" / "noisy_upload.bin").read_bytes()
        assert device.state["newest_upload_has_noise"]


def test_a_pause_that_kotlin_was_asked_for_is_kept(tmp_path):
    home = shutil.copytree(FOLDER / "kotlin" / "paused", tmp_path / "device")
    with Device.open(home) as device:
        (delivery,) = device.send(Busy())
        assert (delivery.status, delivery.attempts) == ("queued", 0)
        assert delivery.detail.startswith("the server asked for a pause")


def test_a_device_that_kotlin_registered_is_known_to_the_collector_and_goes_on(tmp_path):
    home = shutil.copytree(FOLDER / "kotlin" / "registered", tmp_path / "device")
    key = (home / "device.key").read_bytes()
    with Device.open(home) as device:
        assert verify(dccl_pb2.SignedUpload.FromString(device.upload()), key)
        assert device.state["uploads_waiting"] == 0
        store = VectorStore.open(f"sqlite:///{FOLDER / 'collector' / 'store.sqlite'}")
        previous = load_state(home / "state.bin").previous_bundle
        left = load_state(home / "bundles" / previous.hex() / "state.bin").current.vector
        for bundle, vector in ((previous, left), (device.bundle.identity, device.vector)):
            found = store.newest(bundle)
            assert found.device_ids == [device.device_id]
            np.testing.assert_array_equal(found.vectors, [vector])
        store.close()


def test_both_make_the_same_tables():
    kotlin, python = (
        sqlite3.connect(FOLDER / name / "samples.sqlite").execute("SELECT sql FROM sqlite_master ORDER BY name")
        for name in ("kotlin/device", "begun")
    )
    assert [_plain(sql) for (sql,) in kotlin] == [_plain(sql) for (sql,) in python]


def _plain(sql: str | None) -> str:
    return " ".join((sql or "").split())


def test_an_upload_made_by_kotlin_is_pythons_but_for_the_last_bits():
    theirs, ours = (
        dccl_pb2.SignedUpload.FromString((FOLDER / name).read_bytes()) for name in ("kotlin/upload.bin", "upload.bin")
    )
    assert verify(theirs, KEY)
    theirs, ours = (dccl_pb2.VectorUpload.FromString(signed.upload) for signed in (theirs, ours))
    np.testing.assert_allclose(theirs.vector, ours.vector, atol=1e-5)
    assert theirs.evidence.cloud_loss == pytest.approx(ours.evidence.cloud_loss, abs=1e-5)
    for message in (theirs, ours):
        message.ClearField("vector")
        message.evidence.ClearField("cloud_loss")
        message.evidence.ClearField("personal_loss")
    assert theirs == ours


def test_an_upload_of_pythons_state_made_by_kotlin_is_the_same_bytes():
    assert (FOLDER / "kotlin" / "upload_of_state.bin").read_bytes() == (FOLDER / "upload.bin").read_bytes()

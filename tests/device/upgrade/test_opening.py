"""A state folder that is opened again, on another bundle, twice, or damaged."""

import dataclasses
import os
import stat

import numpy as np
import pytest

from device_runtime import Bundle, BundleError, Device, InputError, StateError, StorageError
from device_runtime.state.folder import StateFolder
from protos import dccl_pb2
from tests.device.bundles import rewritten, successor

KEY = b"k" * 32


@pytest.fixture
def next_path(bundle_path, tmp_path):
    return successor(bundle_path, tmp_path / "next")


@pytest.fixture
def trained(tmp_path, bundle):
    """The folder of a device that was personalised and closed, and its vector."""
    with Device.open(tmp_path / "device", bundle, key=KEY, profile={"age": "old"}) as device:
        items = np.random.default_rng(0).integers(101, 121, 60)
        device.log_many(items, items % 2)
        device.personalize()
        device.upload()
        return tmp_path / "device", device.vector


def test_a_new_device_begins_at_init_of_its_profile(device, runtime):
    np.testing.assert_array_equal(device.vector, runtime.call("init", profile=[[2]])["vector"])
    assert (device.opening.how, device.gate) == ("first", 0.0)


def test_a_device_resumes_where_it_was(trained, bundle):
    folder, vector = trained
    with Device.open(folder, bundle) as device:
        assert device.opening.how == "resumed"
        np.testing.assert_array_equal(device.vector, vector)
        assert device.state["profile"] == {"age": "old"}
        assert device.state["sequence"] == 1
        assert device.state["log"]["history"] == 60


def test_rebase_makes_the_vector_u_of_the_old_one(trained, next_path, bundle, runtime):
    folder, vector = trained
    with Device.open(folder, next_path) as device:
        assert (device.opening.how, device.opening.previous) == ("rebase", bundle.identity)
        rebased = runtime.call("rebase", vector=vector, profile=[[2]])["vector"]
        np.testing.assert_array_equal(device.vector, rebased)
        assert device.state["steps"] == 0
        with pytest.raises(StateError, match="not been trained in this bundle"):
            device.upload()


def test_keep_leaves_the_vector_and_its_optimiser(trained, next_path):
    folder, vector = trained
    with Device.open(folder, next_path, on_bundle_change="keep") as device:
        np.testing.assert_array_equal(device.vector, vector)
        assert device.opening.how == "keep"
        assert device.state["steps"] > 0


def test_reset_begins_again_and_keeps_the_log(trained, next_path, runtime):
    folder, _ = trained
    with Device.open(folder, next_path, on_bundle_change="reset") as device:
        np.testing.assert_array_equal(device.vector, runtime.call("init", profile=[[2]])["vector"])
        assert (device.opening.how, device.gate) == ("reset", 0.0)
        assert device.state["log"]["history"] == 60
        assert device.state["sequence"] == 1


@pytest.mark.parametrize("policy", ["rebase", "keep"])
def test_the_gate_is_decided_anew_by_evidence(trained, next_path, policy):
    folder, _ = trained
    with Device.open(folder, next_path, on_bundle_change=policy) as device:
        state = device.state
        assert state["heldout_samples"] == 12
        assert state["gate"] == float(state["personal_loss"] < state["cloud_loss"])


def test_the_change_is_on_record_after_the_next_opening(trained, next_path, bundle):
    folder, _ = trained
    Device.open(folder, next_path, on_bundle_change="keep").close()
    with Device.open(folder, next_path) as device:
        assert device.opening.how == "resumed"
        assert device.opening.previous == bundle.identity
        assert device._in_use.state.opening == "keep"


def test_upgrade_of_an_open_device_is_the_same_as_opening_on_the_new_bundle(trained, bundle, next_path, runtime):
    folder, vector = trained
    with Device.open(folder, bundle) as device:
        assert device.upgrade(next_path).how == "rebase"
        rebased = runtime.call("rebase", vector=vector, profile=[[2]])["vector"]
        np.testing.assert_array_equal(device.vector, rebased)
        assert device.bundle.identity == Bundle.open(next_path).identity
        assert device.personalize().samples > 0


def test_a_failed_upgrade_leaves_the_device_with_the_bundle_it_had(trained, bundle, tmp_path):
    folder, vector = trained
    with Device.open(folder, bundle) as device:
        scores = device.scores([101, 102])
        with pytest.raises(InputError, match="on_bundle_change: expected rebase, keep, reset, got 'rebsae'"):
            device.upgrade(bundle, "rebsae")
        (tmp_path / "empty").mkdir()
        with pytest.raises(BundleError, match=r"expected manifest.pb"):
            device.upgrade(tmp_path / "empty")
        np.testing.assert_array_equal(device.scores([101, 102]), scores)
        np.testing.assert_array_equal(device.vector, vector)


def test_the_log_outlives_the_vocabulary(trained, bundle_path, tmp_path, bundle):
    folder, _ = trained
    turned = dccl_pb2.Vocabulary(int_ids=reversed(range(101, 121)))
    path = rewritten(bundle_path, tmp_path / "turned", vocabulary=turned)
    with Device.open(folder, path, on_bundle_change="keep") as device:
        history, _ = device._folder.samples.newest(5).items, device.scores([101])
        assert device._history[0].tolist() == [121 - item for item in history]


def test_two_objects_cannot_have_one_folder_open(device, bundle):
    with pytest.raises(StateError, match="has this state folder open; close it first"):
        Device.open(device._folder.path, bundle)


def test_a_folder_can_be_opened_again_after_a_failure_to_open(trained, bundle):
    folder, _ = trained
    with pytest.raises(StateError, match="device_id: expected"):
        Device.open(folder, bundle, device_id="somebody-else")
    Device.open(folder, bundle).close()


def test_a_given_id_is_kept_and_a_random_one_is_made_where_none_is(tmp_path, bundle):
    with Device.open(tmp_path / "a", bundle, device_id="phone-7") as device:
        assert device.device_id == "phone-7"
    with Device.open(tmp_path / "a", bundle) as device:
        assert device.device_id == "phone-7"
    with Device.open(tmp_path / "b", bundle) as one, Device.open(tmp_path / "c", bundle) as other:
        assert one.device_id != other.device_id
        assert len(one.device_id) == 32


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_the_key_is_stored_for_the_owner_alone(device):
    file = device._folder.path / "device.key"
    assert file.read_bytes() == KEY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", [b"", b"short", "k" * 32, bytearray(32)])
def test_a_key_that_is_none_is_refused(tmp_path, bundle, key):
    with pytest.raises(InputError, match="key: expected 32 bytes"):
        Device.open(tmp_path / "device", bundle, key=key)


@pytest.mark.parametrize("name", ["limits", "noise"])
def test_settings_of_another_type_are_refused(tmp_path, bundle, name):
    with pytest.raises(InputError, match=f"{name}: expected a .*, got dict"):
        Device.open(tmp_path / "device", bundle, **{name: {"samples": 3}})


def test_a_wrong_profile_is_refused_before_a_folder_is_made(tmp_path, bundle):
    with pytest.raises(InputError, match="unknown field 'aeg'"):
        Device.open(tmp_path / "device", bundle, profile={"aeg": "old"})
    assert not (tmp_path / "device").exists()


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("age=1", "profile: expected a dict of field to value, got str"),
        ({"age": {1}}, "profile: expected a string or a whole number for 'age', got {1}"),
    ],
)
def test_a_profile_that_is_none_is_refused_at_later_openings_too(trained, bundle, profile, message):
    with pytest.raises(InputError, match=message):
        Device.open(trained[0], bundle, profile=profile)


def test_a_field_that_a_bundle_lacks_is_reported_at_later_openings(trained, bundle):
    with Device.open(trained[0], bundle, profile={"aeg": "old"}) as device:
        assert device.opening.profile_unknown == ("aeg",)


def test_an_unknown_profile_value_is_reported(tmp_path, bundle):
    with Device.open(tmp_path / "device", bundle, profile={"age": "ancient"}) as device:
        assert device.opening.profile_unknown == ("age",)


DAMAGE = [b"", b"DCCLDEV\0", *(os.urandom(size) for size in (1, 20, 400, 4096))]


@pytest.mark.parametrize("content", DAMAGE, ids=[f"{len(content)} bytes" for content in DAMAGE])
def test_a_damaged_state_is_named_and_never_used(trained, bundle, content):
    folder, _ = trained
    (folder / "state.bin").write_bytes(content)
    with pytest.raises(StateError, match=r"state.bin: .*on_damage='reset'"):
        Device.open(folder, bundle)
    assert (folder / "state.bin").read_bytes() == content


def test_every_flipped_byte_of_a_state_is_found(trained, bundle):
    folder, _ = trained
    original = (folder / "state.bin").read_bytes()
    for place in range(0, len(original), 7):
        content = bytearray(original)
        content[place] ^= 1
        (folder / "state.bin").write_bytes(content)
        with pytest.raises(StateError):
            Device.open(folder, bundle)


@pytest.mark.parametrize("schema", [0, 99])
def test_a_state_of_another_schema_is_named(trained, bundle, schema):
    folder, _ = trained
    content = bytearray((folder / "state.bin").read_bytes())
    content[8] = schema
    (folder / "state.bin").write_bytes(content)
    with pytest.raises(StateError, match=f"expected schema 1, got {schema}"):
        Device.open(folder, bundle)


def test_a_damaged_state_is_set_aside_by_choice_and_the_upload_number_survives(trained, bundle):
    folder, vector = trained
    (folder / "state.bin").write_bytes(b"damage")
    with Device.open(folder, bundle, on_damage="reset", profile={"age": "old"}) as device:
        assert device.opening.damaged == ("state.bin",)
        assert (folder / "state.bin.damaged").read_bytes() == b"damage"
        assert (device.vector != vector).any()
        assert device.state["sequence"] == 1
        device.log(101)
        device.personalize()
        upload = dccl_pb2.SignedUpload.FromString(device.upload())
        assert dccl_pb2.VectorUpload.FromString(upload.upload).sequence == 2


def test_a_damaged_log_is_named_and_set_aside_by_choice(trained, bundle):
    folder, vector = trained
    (folder / "samples.sqlite").write_bytes(os.urandom(4096))
    with pytest.raises(StateError, match=r"samples.sqlite: damaged"):
        Device.open(folder, bundle)
    with Device.open(folder, bundle, on_damage="reset") as device:
        assert device.opening.damaged == ("samples.sqlite",)
        np.testing.assert_array_equal(device.vector, vector)
        device.log(101)


def test_a_path_that_is_no_folder_is_said(tmp_path, bundle):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used as a state folder"):
        Device.open(tmp_path / "file", bundle)


def test_a_bundle_that_is_given_at_every_start_undoes_no_upgrade(trained, bundle_path, next_path, tmp_path):
    """An app opens with the bundle that it shipped with; the device has gone over to a newer one since."""
    folder, _ = trained
    newer = Bundle.open(next_path).identity
    with Device.open(folder, bundle_path) as device:
        device.upgrade(next_path)
    with Device.open(folder, bundle_path) as device:
        assert (device.bundle.identity, device.opening.how, device.opening.refused) == (newer, "resumed", "")
    third = successor(next_path, tmp_path / "third")  # the app is updated, and ships another one
    with Device.open(folder, third) as device:
        assert (device.bundle.identity, device.opening.how) == (Bundle.open(third).identity, "rebase")


def test_a_bundle_that_is_given_at_every_start_undoes_no_rollback(trained, bundle, next_path):
    folder, vector = trained
    with Device.open(folder, next_path) as device:
        device.rollback()
    with Device.open(folder, next_path) as device:
        assert (device.bundle.identity, device.opening.how) == (bundle.identity, "resumed")
        np.testing.assert_array_equal(device.vector, vector)


def test_a_personalisation_without_a_step_leaves_the_gate_that_evidence_opened(trained, next_path):
    folder, _ = trained
    with Device.open(folder, next_path) as device:
        before = device._in_use.state
        device._in_use.save(dataclasses.replace(before, gate=1.0))
        report = device.personalize(should_stop=lambda: True)
        assert (report.stopped, report.steps, report.gate) == ("should_stop", 0, 1.0)
        assert device._in_use.state.evidence == before.evidence
        assert device.gate == 1.0


def test_a_damaged_bundle_gives_way_to_the_one_that_the_app_gives(trained, bundle, bundle_path, next_path):
    """Without a network it is all there is."""
    folder, _ = trained
    with Device.open(folder, bundle_path) as device:
        device.upgrade(next_path)
        copy = device.bundle.path
    (copy / "model.tflite").write_bytes(b"damage")
    with pytest.raises(BundleError, match="give the device its bundle again"):
        Device.open(folder)
    with Device.open(folder, bundle_path) as device:
        assert (device.bundle.identity, device.opening.how) == (bundle.identity, "rebase")
        assert device.state["log"]["history"] == 60


def test_a_full_disk_by_the_end_of_an_upgrade_at_opening_undoes_nothing(trained, next_path, monkeypatch):
    folder, _ = trained

    def full(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(StateFolder, "given", property(StateFolder.given.fget, full))
    for how in ("rebase", "resumed"):
        with Device.open(folder, next_path) as device:
            assert (device.opening.how, device.opening.refused) == (how, "")
            assert device.bundle.identity == Bundle.open(next_path).identity

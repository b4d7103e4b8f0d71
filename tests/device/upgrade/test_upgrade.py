"""A new bundle: what it has to pass before it replaces the old one, and the way back."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from device_runtime import Bundle, BundleError, Device, InputError, ModelError, StateError, StorageError
from protos import dccl_pb2
from tests.device.bundles import rewritten, successor, with_file

ITEMS = range(101, 121)


@pytest.fixture
def next_path(bundle_path, tmp_path):
    return successor(bundle_path, tmp_path / "next")


@pytest.fixture
def trained(device):
    """A personalised device with an open gate."""
    device.log_many([101, 104, 109, 115, 120, 102, 103] * 4, [1, 0, 1, 1, 0, 1, 0] * 4)
    device.personalize()
    return device


def failing(bundle_path, path, name):
    """A successor whose file says of itself that it must not be used."""
    if name == "goldens.pb":
        goldens = dccl_pb2.Goldens.FromString((bundle_path / name).read_bytes())
        output = next(call for call in goldens.calls if call.signature == "evaluate").outputs[0]
        output.data = np.full(output.shape, 9.0, "<f4").tobytes()
        return with_file(bundle_path, path, name, goldens.SerializeToString())
    return with_file(bundle_path, path, name, json.dumps({"checks": [{"name": "infer", "passed": False}]}).encode())


def kept(device):
    return {path.name for path in (device._folder.path / "bundles").iterdir()}


def test_the_bundle_is_the_devices_own_copy_and_the_download_may_vanish(bundle_path, tmp_path):
    shutil.copytree(bundle_path, tmp_path / "download")
    with Device.open(tmp_path / "device", tmp_path / "download") as device:
        device.log(101)
        scores = device.scores(ITEMS)
    shutil.rmtree(tmp_path / "download")
    for bundle in (None, tmp_path / "download"):
        with Device.open(tmp_path / "device", bundle) as device:
            np.testing.assert_array_equal(device.scores(ITEMS), scores)
            assert device.opening.how == "resumed"


def test_a_zip_is_unpacked_into_the_store(bundle_path, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle_path)
    with Device.open(tmp_path / "device", archive) as device:
        assert device.bundle.path.is_dir()
        assert kept(device) == {device.bundle.identity.hex()}


def test_a_new_device_needs_a_bundle(tmp_path):
    with pytest.raises(InputError, match="bundle: expected a folder or a zip for a new device, got none"):
        Device.open(tmp_path / "device")


def test_the_current_bundle_and_the_one_before_it_are_kept(trained, bundle_path, tmp_path, next_path):
    first = trained.bundle.identity
    trained.upgrade(next_path)
    second = trained.bundle.identity
    assert kept(trained) == {first.hex(), second.hex()}
    trained.upgrade(successor(next_path, tmp_path / "third"))
    assert kept(trained) == {second.hex(), trained.bundle.identity.hex()}


REFUSALS = {
    "certificate.json": "expected every check passed, got 'infer' failed",
    "goldens.pb": r"expected evaluate to give its logits within .*, got a difference of .*; this device cannot use",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bundle_that_fails_a_check_leaves_the_old_one_in_use(trained, bundle_path, tmp_path, name):
    before, scores, state = trained.bundle.identity, trained.scores(ITEMS), trained.state
    with pytest.raises(BundleError, match=REFUSALS[name]):
        trained.upgrade(failing(bundle_path, tmp_path / "bad", name))
    np.testing.assert_array_equal(trained.scores(ITEMS), scores)
    assert trained.bundle.identity == before
    assert kept(trained) == {before.hex()}
    assert trained.state["vector"] == state["vector"]
    event = trained.events(newest=1)[0]
    assert event.kind == "refusal"
    assert name in event.facts["reason"]


@pytest.mark.parametrize("name", REFUSALS)
def test_opening_on_a_bundle_that_fails_goes_on_with_the_old_one_and_says_so(trained, bundle_path, tmp_path, name):
    folder, before, scores = trained._folder.path, trained.bundle.identity, trained.scores(ITEMS)
    bad = failing(bundle_path, tmp_path / "bad", name)
    trained.close()
    for _ in range(2):
        with Device.open(folder, bad) as device:
            assert (device.opening.how, device.bundle.identity) == ("resumed", before)
            assert name in device.opening.refused
            np.testing.assert_array_equal(device.scores(ITEMS), scores)
            assert kept(device) == {before.hex()}


def test_a_bundle_that_was_refused_is_not_tried_again_unless_asked(trained, bundle_path, tmp_path, monkeypatch):
    bad = failing(bundle_path, tmp_path / "bad", "goldens.pb")
    with pytest.raises(BundleError, match=r"^goldens.pb"):
        trained.upgrade(bad)
    with pytest.raises(BundleError, match=r"was refused before \(goldens.pb: .*\); upgrade\(retry=True\) tries it"):
        trained.upgrade(bad)
    with pytest.raises(BundleError, match=r"^goldens.pb"):
        trained.upgrade(bad, retry=True)
    # Another version of the runtime may well run it.
    monkeypatch.setattr("device_runtime.upgrade.installation.Installer._version", lambda _: "a newer one")
    with pytest.raises(BundleError, match=r"^goldens.pb"):
        trained.upgrade(bad)


def test_a_new_device_refuses_a_bundle_that_fails(bundle_path, tmp_path):
    with pytest.raises(BundleError, match="expected every check passed"):
        Device.open(tmp_path / "device", failing(bundle_path, tmp_path / "bad", "certificate.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[]", "got none"), (b"{}", "got none"), (b'{"checks": []}', "got none"), (b"no json", "not JSON"),
     (b'{"checks": [{"name": "a", "passed": "yes"}]}', "got 'a' failed"), (b'{"checks": [7]}', "got 7 failed")],
)  # fmt: skip
def test_a_certificate_that_certifies_nothing_is_refused(bundle_path, tmp_path, content, message):
    with pytest.raises(BundleError, match=message):
        Device.open(tmp_path / "device", with_file(bundle_path, tmp_path / "bad", "certificate.json", content))


def test_operators_that_the_manifest_does_not_list_are_refused(trained, bundle_path, tmp_path):
    path = rewritten(bundle_path, tmp_path / "bad", lambda manifest: manifest.operators.pop())
    with pytest.raises(BundleError, match=r"expected the model's operators, got .* in model.tflite alone"):
        trained.upgrade(path)


def test_a_runtime_older_than_the_bundle_asks_for_is_refused(trained, bundle_path, tmp_path):
    name = trained._in_use.learner.engine.runtime.name
    path = rewritten(bundle_path, tmp_path / "new", lambda m: setattr(m, "oldest_runtime", f"{name} 99.0"))
    with pytest.raises(BundleError, match=rf"expected {name} 99.0 or newer, got .*; install a newer one"):
        trained.upgrade(path)


def test_a_damaged_download_is_refused_but_not_remembered(trained, next_path):
    content = (next_path / "model.tflite").read_bytes()
    (next_path / "model.tflite").write_bytes(content[:-1])
    with pytest.raises(BundleError, match=r"model.tflite: expected SHA-256"):
        trained.upgrade(next_path)
    (next_path / "model.tflite").write_bytes(content)
    assert trained.upgrade(next_path).how == "rebase"


def test_a_file_that_could_not_be_read_is_no_fault_of_the_bundle(tmp_path, bundle_path, next_path, monkeypatch):
    def too_many(*_, **__):
        raise OSError(24, "Too many open files")

    with Device.open(tmp_path / "device", bundle_path) as device:
        with monkeypatch.context() as busy:
            busy.setattr("device_runtime.interpreter.operators.mmap.mmap", too_many)
            with pytest.raises(ModelError, match="Too many open files"):
                device.upgrade(next_path)
        assert device.upgrade(next_path).how == "rebase"


def test_a_new_device_tries_a_bundle_anew_at_each_opening(tmp_path, bundle_path):
    """It has nothing else to go on with, and nobody to call `upgrade(retry=True)` on."""
    bad = failing(bundle_path, tmp_path / "bad", "goldens.pb")
    for _ in range(2):
        with pytest.raises(BundleError, match=r"^goldens.pb"):
            Device.open(tmp_path / "device", bad)
    Device.open(tmp_path / "device", bundle_path).close()


def test_a_full_disk_leaves_the_old_bundle_in_use(trained, next_path, monkeypatch):
    before = trained.bundle.identity

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("device_runtime.state.bundle_store.shutil.copyfile", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\); the bundles kept"):
        trained.upgrade(next_path)
    folder = trained._folder.path
    trained.close()
    with Device.open(folder, next_path) as device:
        assert device.bundle.identity == before
        assert "No space left" in device.opening.refused
    monkeypatch.undo()
    with Device.open(folder, next_path) as device:
        assert device.opening.how == "rebase"


def test_a_copy_that_was_damaged_is_taken_from_the_download_again(trained, bundle_path):
    folder, copy = trained._folder.path, trained.bundle.path
    trained.close()
    (copy / "model.tflite").write_bytes(b"damage")
    with pytest.raises(BundleError, match=r"model.tflite: expected SHA-256 .*; give the device its bundle again"):
        Device.open(folder)
    with Device.open(folder, bundle_path) as device:
        assert device.opening.how == "resumed"
        assert device.bundle.path == copy


def test_a_copy_that_became_another_bundle_is_damage(trained, bundle_path, next_path):
    folder, copy = trained._folder.path, trained.bundle.path
    trained.close()
    shutil.copyfile(next_path / "manifest.pb", copy / "manifest.pb")  # whose hashes agree
    with pytest.raises(BundleError, match=r"manifest.pb: expected SHA-256 .*; give the device its bundle again"):
        Device.open(folder)
    with Device.open(folder, bundle_path) as device:
        assert device.opening.how == "resumed"


def test_the_bundles_that_are_not_tried_again_are_told(trained, next_path):
    assert trained.refused == {}
    trained.upgrade(next_path)
    left = trained.bundle.identity
    trained.rollback()
    assert list(trained.refused) == [left]
    with pytest.raises(BundleError) as refusal:
        trained.upgrade(next_path)
    assert trained.refused[left] == str(refusal.value)
    trained.upgrade(next_path, retry=True)
    assert trained.refused == {}


def test_rollback_returns_to_the_vector_gate_and_optimiser_that_were_left(trained, next_path):
    first, state = trained.bundle.identity, trained._in_use.state
    assert state.current.step[0] > 0
    trained.upgrade(next_path)
    trained.log(110)
    trained.personalize()
    trained.log(109)
    opening = trained.rollback()
    assert (opening.how, opening.bundle) == ("rollback", first)
    for was, now in zip(
        [*state.current, state.anchor], [*trained._in_use.state.current, trained._in_use.state.anchor], strict=True
    ):
        np.testing.assert_array_equal(was, now)
    assert (trained.gate, trained._in_use.state.evidence) == (state.gate, state.evidence)
    assert trained.state["log"]["history"] == 30  # the log stays
    assert kept(trained) == {first.hex()}


def test_after_a_rollback_the_bundle_is_not_taken_again_by_itself(trained, next_path):
    folder, first = trained._folder.path, trained.bundle.identity
    trained.upgrade(next_path)
    trained.rollback()
    trained.close()
    with Device.open(folder, next_path) as device:
        assert device.bundle.identity == first
        assert "was refused before (it was rolled back)" in device.opening.refused
        assert device.upgrade(next_path, retry=True).how == "rebase"
    with Device.open(folder, next_path) as device:
        assert (device.opening.how, device.opening.refused) == ("resumed", "")


def test_the_upload_number_never_goes_back(trained, next_path):
    trained.upload()
    trained.upgrade(next_path)
    trained.log(110)
    trained.personalize()
    trained.upload()
    trained.rollback()
    trained.log(111)
    trained.personalize()
    signed = dccl_pb2.SignedUpload.FromString(trained.upload())
    assert dccl_pb2.VectorUpload.FromString(signed.upload).sequence == 3


def test_without_a_bundle_before_there_is_no_way_back(trained, next_path):
    with pytest.raises(StateError, match="rollback: expected the bundle before this one among those kept, got none"):
        trained.rollback()
    trained.upgrade(next_path)
    trained.rollback()
    with pytest.raises(StateError, match="a device keeps one, and none once it has rolled back"):
        trained.rollback()


def test_a_bundle_that_is_damaged_by_now_is_no_way_back(trained, next_path):
    first = trained.bundle.path
    trained.upgrade(next_path)
    newest = trained.bundle.identity
    (first / "vocabulary.pb").write_bytes(b"damage")
    with pytest.raises(BundleError, match=r"vocabulary.pb: expected SHA-256"):
        trained.rollback()
    assert trained.bundle.identity == newest
    assert np.isfinite(trained.scores(ITEMS)).all()


def test_an_upgrade_is_done_though_the_disk_is_full_by_then(trained, next_path, monkeypatch):
    def full(*_):
        raise StorageError("no space left")

    trained.scores(ITEMS)
    monkeypatch.setattr("device_runtime.upgrade.installation.Installer.forgive", full)
    assert trained.upgrade(next_path).how == "rebase"
    assert trained.bundle.identity == Bundle.open(next_path).identity
    assert [event.kind for event in trained.events()][-1] == "upgrade"


def test_forgetting_the_user_leaves_no_way_back_to_an_old_vector(trained, next_path):
    trained.upgrade(next_path)
    trained.reset(forget_user=True)
    assert kept(trained) == {trained.bundle.identity.hex()}
    assert trained.state["profile"] == {}
    with pytest.raises(StateError, match="rollback: expected"):
        trained.rollback()


def test_a_lost_state_begins_again_on_the_newest_bundle_kept(trained, next_path):
    trained.upgrade(next_path)
    folder, newest = trained._folder.path, trained.bundle.identity
    trained.close()
    (folder / "state.bin").write_bytes(b"damage")
    with Device.open(folder, on_damage="reset") as device:
        assert (device.opening.how, device.bundle.identity) == ("first", newest)


def test_a_state_of_a_length_that_its_bundle_does_not_have_is_refused(trained):
    from device_runtime.interpreter.engine import VectorState
    from device_runtime.state.device_state import DeviceState, save_state

    folder, identity = trained._folder.path, trained.bundle.identity
    trained.close()
    vector = np.zeros(600, np.float32)
    save_state(folder / "state.bin", DeviceState(identity, VectorState.start(vector), vector))
    with pytest.raises(StateError, match=r"expected a vector of 4 floats, .* got 600"):
        Device.open(folder)


# Goes from one bundle to the other and back for ever.
SWITCHER = """
import sys
from device_runtime import Device
with Device.open(sys.argv[1]) as device:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    while True:
        device.upgrade(sys.argv[2], retry=True)
        device.upgrade(sys.argv[3], retry=True)
        device.rollback()
"""


def test_a_kill_during_upgrades_and_rollbacks_leaves_one_of_the_bundles_whole(trained, bundle_path, next_path):
    folder, chance = trained._folder.path, random.Random(0)
    known = {hashlib.sha256((path / "manifest.pb").read_bytes()).digest() for path in (bundle_path, next_path)}
    history = trained.history_size
    trained.close()
    for _ in range(6):
        command = [sys.executable, "-c", SWITCHER, str(folder), str(next_path), str(bundle_path)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert writer.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.2))
        writer.kill()
        writer.communicate()
        assert writer.returncode == -9  # it had not ended by itself
        with Device.open(folder) as device:
            assert device.bundle.identity in known
            assert np.isfinite(device.scores(ITEMS, gate=1)).all()
            assert device.history_size == history
            assert len(kept(device)) <= 2


def test_identity_is_told_by_the_manifest_alone(bundle_path, tmp_path):
    assert Bundle.identify(bundle_path) == Bundle.open(bundle_path).identity
    with pytest.raises(BundleError, match="got nothing at"):
        Bundle.identify(tmp_path / "absent")

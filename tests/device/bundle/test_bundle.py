"""Opening a bundle: nothing of it is used before it is verified."""

import hashlib
import random
import shutil
import zipfile

import pytest

from device_runtime import Bundle, BundleError, Device, load_runtime, replay_goldens
from device_runtime.upgrade import acceptance
from protos import dccl_pb2
from tests.device.bundles import rewritten

FILES = ["manifest.pb", "model.tflite", "vocabulary.pb", "goldens.pb", "certificate.json"]


@pytest.fixture
def copy(bundle_path, tmp_path):
    shutil.copytree(bundle_path, tmp_path / "copy")
    return tmp_path / "copy"


def test_identity_is_the_hash_of_the_manifest(bundle, bundle_path):
    assert bundle.identity == hashlib.sha256((bundle_path / "manifest.pb").read_bytes()).digest()


def test_a_zip_is_the_same_bundle(bundle, bundle_path, tmp_path):
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        for name in FILES:
            archive.write(bundle_path / name, name)
    zipped = Bundle.open(tmp_path / "bundle.zip")
    assert zipped.identity == bundle.identity
    assert zipped.model_bytes == bundle.model_bytes
    assert zipped.size == bundle.size
    with Device.open(tmp_path / "state", zipped) as device:
        assert device.scores([101]).shape == (1,)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"got none of {name}"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_changed_file_is_refused_by_its_hash(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: expected SHA-256"):
        Bundle.open(copy)


def test_200_byte_flips_of_the_model_are_refused_before_it_is_loaded(copy, monkeypatch):
    original = (copy / "model.tflite").read_bytes()
    monkeypatch.setattr(acceptance, "load_runtime", lambda *_: pytest.fail("the model was loaded"))
    chance = random.Random(0)
    for _ in range(200):
        content = bytearray(original)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (copy / "model.tflite").write_bytes(content)
        with pytest.raises(BundleError, match=r"model.tflite"):
            Device.open(copy / "state", copy)
    assert not (copy / "state").exists()


@pytest.mark.parametrize("tenths", range(10))
def test_a_model_that_was_cut_short_is_refused_before_it_is_loaded(copy, monkeypatch, tenths):
    content = (copy / "model.tflite").read_bytes()
    (copy / "model.tflite").write_bytes(content[: len(content) * tenths // 10])
    monkeypatch.setattr(acceptance, "load_runtime", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(BundleError, match=r"model.tflite: expected SHA-256"):
        Device.open(copy / "state", copy)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"not a manifest"])
def test_a_manifest_that_is_none_is_refused(copy, content):
    (copy / "manifest.pb").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest.pb"):
        Bundle.open(copy)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut short"])
def test_a_zip_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "bundle.zip").write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read as a folder or a zip"):
        Bundle.open(tmp_path / "bundle.zip")


def test_a_model_that_changed_since_the_bundle_was_opened_is_refused(copy, tmp_path):
    bundle = Bundle.open(copy)
    (copy / "model.tflite").write_bytes(b"another file")
    with pytest.raises(BundleError, match=r"model.tflite: expected SHA-256"):
        Device.open(tmp_path / "state", bundle)
    with pytest.raises(BundleError, match=r"model.tflite: expected SHA-256"):
        _ = bundle.model_bytes
    (copy / "model.tflite").unlink()
    with pytest.raises(BundleError, match=r"model.tflite: cannot be read"):
        Device.open(tmp_path / "state", bundle)


def test_nothing_at_the_path_is_said(tmp_path):
    with pytest.raises(BundleError, match="got nothing at"):
        Bundle.open(tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "schema", 99), "expected schema 1, got 99"),
        (lambda m: setattr(m, "protocol", "rated"), "expected the protocol next or liked, got 'rated'"),
        (lambda m: setattr(m, "items", 21), "expected 21 items, got 20"),
        (lambda m: setattr(m, "history_length", 0), "expected history_length of at least 1"),
        (lambda m: setattr(m.training, "optimizer", "lamb"), "expected training.optimizer adam or sgd, got 'lamb'"),
        (lambda m: setattr(m.training, "learning_rate", float("nan")), "positive learning_rate"),
        (lambda m: setattr(m.training, "heldout_fraction", 1.0), "heldout_fraction in"),
        (lambda m: m.ClearField("profile"), "at least one profile field"),
        (lambda m: m.profile[0].values.append(m.profile[0].values[0]), "each value of the profile field 'age' once"),
        (lambda m: m.profile.append(m.profile[0]), "each profile field once, got 'age' again"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(bundle_path, tmp_path, change, message):
    with pytest.raises(BundleError, match=message):
        Bundle.open(rewritten(bundle_path, tmp_path / "copy", change))


def test_a_model_of_other_sizes_than_the_manifest_says_is_refused(bundle_path, tmp_path):
    path = rewritten(bundle_path, tmp_path / "copy", lambda manifest: setattr(manifest, "train_batch", 32))
    with pytest.raises(BundleError, match="expected the signature evaluate with inputs"):
        Device.open(tmp_path / "state", path)


def test_goldens_replay_within_their_tolerance(bundle, runtime):
    results = replay_goldens(bundle, runtime)
    assert {result.signature for result in results} >= {"init", "infer", "evaluate", "train", "get", "rebase", "reset"}
    assert all(result.passed for result in results)


def test_goldens_tell_another_answer(bundle_path, bundle, tmp_path):
    goldens = dccl_pb2.Goldens.FromString((bundle_path / "goldens.pb").read_bytes())
    expected = goldens.calls[0].outputs[0]
    expected.data = bytes(len(expected.data))  # `init` gives a vector of zeros, it claims
    content = goldens.SerializeToString()

    def change(manifest):
        manifest.goldens_sha256 = hashlib.sha256(content).digest()

    path = rewritten(bundle_path, tmp_path / "copy", change)
    (path / "goldens.pb").write_bytes(content)
    results = replay_goldens(Bundle.open(path), load_runtime(bundle.model_bytes))
    assert [result.passed for result in results] == [False] + [True] * (len(results) - 1)
    assert results[0].difference > 0.01

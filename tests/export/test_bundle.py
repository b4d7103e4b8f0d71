"""A bundle on the disk: whole or not at all, the same for the same model, opened and replayed by a device."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue
from device_runtime import Bundle, load_runtime, replay_goldens
from export import CertificateError, ExportError, Sizes
from export.bundle import _write
from tests.export.conftest import SIZES, exported, training
from tests.models import small


def with_ids(ids) -> Catalogue:
    return replace(small.catalogue(), ids=ids)


def test_manifest_says_what_the_model_is(bundle):
    manifest = bundle.manifest
    assert (manifest.metapatch_length, manifest.history_length, manifest.items) == (small.K, small.T, small.V)
    assert (manifest.candidates, manifest.train_batch) == (SIZES.candidates, SIZES.train_batch)
    assert manifest.encoded_width == 10  # of the first layer in tests.models.small
    assert [field.name for field in manifest.profile] == ["age", "job"]
    assert bundle.vocabulary.encode([100, 129, 55]).tolist() == [1, small.V, small.V + 1]


def test_goldens_replay(bundle):
    results = replay_goldens(bundle, load_runtime(bundle.model_bytes, "tensorflow"))
    rows = {"encode", "train", "train_encoded", "evaluate", "evaluate_encoded"}
    assert {result.signature for result in results} == rows | {"infer", "init", "rebase", "get", "set", "reset"}
    assert all(result.passed for result in results)


def test_same_model_gives_the_same_bytes_in_a_zip_too(bundle, cloud, tmp_path):
    again = exported(tmp_path / "again.zip", cloud)
    assert again.identity == bundle.identity
    assert again.model_bytes == bundle.model_bytes


def test_parent_changes_the_identity_and_is_kept(bundle, cloud, tmp_path):
    child = exported(tmp_path / "child", cloud, parent=bundle.identity)
    assert child.manifest.parent == bundle.identity
    assert child.identity != bundle.identity
    assert child.model_bytes == bundle.model_bytes


def test_existing_destination_is_left_alone(bundle, cloud):
    before = sorted(file.name for file in bundle.path.iterdir())
    with pytest.raises(FileExistsError, match="destination"):
        exported(bundle.path, cloud)
    assert sorted(file.name for file in bundle.path.iterdir()) == before


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_of_two_exports_to_one_place_the_first_stays(bundle, tmp_path, name):
    files = {file.name: file.read_bytes() for file in bundle.path.iterdir()}
    _write(tmp_path / name, files)
    with pytest.raises(FileExistsError, match="destination: expected a new folder or zip"):
        _write(tmp_path / name, files | {"later": b"nested or in its place"})
    assert Bundle.open(tmp_path / name).identity == bundle.identity
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert name == "bundle.zip" or sorted(file.name for file in (tmp_path / name).iterdir()) == sorted(files)


def test_what_no_device_opens_is_not_written(bundle, tmp_path):
    files = {file.name: file.read_bytes() for file in bundle.path.iterdir()}
    with pytest.raises(ExportError, match=r"vocabulary\.pb: expected SHA-256"):
        _write(tmp_path / "bundle", files | {"vocabulary.pb": b""})
    assert list(tmp_path.iterdir()) == []


def test_failed_certificate_writes_nothing(tmp_path, monkeypatch):
    cloud = small.cloud()
    for tensor in cloud.metapatch.trainable_variables:
        tensor.assign(np.zeros(tensor.shape))  # the zero trap: no vector would ever move
    with pytest.raises(CertificateError, match="gradient at the start"):
        exported(tmp_path / "bundle", cloud)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "other"}, "protocol"),
        (
            {"users": small.users().__class__(np.arange(2), np.zeros((2, 1), np.int32), small.FIELDS[:1])},
            "made for others",
        ),
        ({"catalogue": with_ids(np.arange(100, 100 + small.V).astype(str))}, "made for others.* id types"),
        ({"training": training(epochs=0)}, "training with a positive learning_rate and epochs .*, got 0.05.*, 0, "),
        ({"training": training(optimizer="lamb")}, "training.optimizer adam or sgd, got 'lamb'"),
    ],
)
def test_what_does_not_fit_is_named_before_it_is_converted(tmp_path, cloud, monkeypatch, change, message):
    monkeypatch.setattr("export.bundle.convert", None)
    with pytest.raises(ExportError, match=message):
        exported(tmp_path / "bundle", cloud, **change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros(small.V, np.int64), "each item id once"),
        (np.full(small.V, 2**63, np.uint64), "catalogue: expected ids of 64 bits"),
    ],
)
def test_ids_that_no_device_takes_are_named_before_it_is_converted(tmp_path, monkeypatch, ids, message):
    monkeypatch.setattr("export.bundle.convert", None)
    model = small.cloud()
    model.data = ""  # made by hand, for items that are not known
    with pytest.raises(ExportError, match=message):
        exported(tmp_path / "bundle", model, catalogue=with_ids(ids))
    assert list(tmp_path.iterdir()) == []


def test_profile_values_that_a_device_cannot_tell_apart_are_named_before_it_is_converted(tmp_path, monkeypatch):
    monkeypatch.setattr("export.bundle.convert", None)
    model = small.cloud()
    model.data = ""  # made by hand, for values that are not known
    users = small.users()
    again = SimpleNamespace(name="age", values=("old", "old"), size=3)  # what ProfileField itself would refuse
    message = "each value of the profile field 'age' once, got 'old' again"
    with pytest.raises(ExportError, match=message):
        exported(tmp_path / "bundle", model, users=replace(users, fields=(again, *users.fields[1:])))


def test_one_row_is_no_batch():
    with pytest.raises(ValueError, match=r"train_batch: expected at least 2, since .* wrong gradient .*, got 1"):
        Sizes(train_batch=1)


def test_model_without_a_patch_is_refused(tmp_path):
    model = small.cloud(junctions=(False, False, False))
    with pytest.raises(ExportError, match="junctions: expected a patch"):
        exported(tmp_path / "bundle", model)


def test_patch_at_one_junction_is_enough(tmp_path):
    bundle = exported(tmp_path / "bundle", small.cloud(junctions=(False, False, True)))
    assert all(check["passed"] for check in bundle.certificate["checks"])


def test_bundle_with_labels_takes_them(tmp_path):
    bundle = exported(tmp_path / "bundle", small.cloud(history_labels=True), protocol="liked")
    assert bundle.manifest.history_labels
    assert Bundle.open(bundle.path).identity == bundle.identity


def test_a_real_size_takes_half_the_bytes_in_float16(tmp_path):
    items = 68_000
    catalogue = Catalogue(np.arange(items), np.zeros((items + 2, 1), np.int32), ())
    model = CloudModel.for_data(catalogue, small.users(), length=32, history_length=50)
    bundle = exported(tmp_path / "bundle", model, catalogue=catalogue, precision="float16", sizes=Sizes())
    # The table has items + 2 rows of 32 values of 2 bytes. The rest is the basis, which stands there in two orders (for
    # the patches and for their gradient), 137,000 values each, and some 100 kB of graph.
    assert 2 * 137_000 * 2 < len(bundle.model_bytes) - (items + 2) * 32 * 2 < 2 * 137_000 * 2 + 200_000

"""The program that trains all users' devices and delivers their vectors."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from dccl_tf import fleet, fleet_uploads
from dccl_tf.data.sequence_files import write_sequences
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.fleet import FleetConfig
from dccl_tf.real_devices import users_of
from dccl_tf.run_config import DcclConfig, device_data, split_log, untrained
from dccl_tf.vectors import VectorStore
from dccl_tf.vectors.parquet import read_vectors
from device_runtime import Bundle
from export import Sizes, export_bundle
from tests.one_process import calls_of

SYNTHETIC = ("--dataset=synthetic", "--synthetic_users=30", "--synthetic_items=80")
CONFIG = DcclConfig(
    protocol="liked", metapatch_length=6, fleet=FleetConfig(batch=8, epochs=2, learning_rate=0.05, pull=2.0)
)
CLUSTER = """
import contextlib, types
from scripts import flags_spark
far = types.SimpleNamespace(sparkContext=types.SimpleNamespace(master="spark://far:7077"))
flags_spark.session = lambda: contextlib.nullcontext(far)
"""


@pytest.fixture(scope="module")
def log():
    return synthetic_log(0, users=30, items=80)[0]


@pytest.fixture(scope="module")
def shipped(log, tmp_path_factory):
    """A folder with a checkpoint and its bundle."""
    folder = tmp_path_factory.mktemp("shipped")
    keras.utils.set_random_seed(0)
    cloud = untrained(log, CONFIG)
    cloud.save(folder / "cloud.keras")
    export_bundle(
        cloud, folder / "bundle", catalogue=log.catalogue, users=log.users, protocol="liked",
        training=CONFIG.training(), sizes=Sizes(candidates=10, train_batch=8),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def run(shipped):
    """Calls the program, which finds a session on a cluster where it asks Spark for one."""
    usual = ["--protocol=liked", f"--checkpoint={shipped / 'cloud.keras'}", f"--bundle={shipped / 'bundle'}"]
    with calls_of("simulate_fleet", before=CLUSTER) as program:
        yield lambda *words: program(*usual, *words)


@pytest.fixture(scope="module")
def stored(run, shipped):
    """URL of a store with the fleet's vectors."""
    url = f"sqlite:///{shipped / 'vectors.sqlite'}"
    code, told = run(*SYNTHETIC, f"--store={url}")
    assert code == 0, told
    assert "devices 30, gate open on" in told
    assert "uploads: {'ACCEPTED': 30}" in told
    return url


def test_a_store_and_a_parquet_file_get_the_same_vectors(run, shipped, stored, tmp_path):
    code, told = run(*SYNTHETIC, f"--store={tmp_path / 'vectors.parquet'}")
    assert code == 0, told
    bundle = Bundle.open(str(shipped / "bundle")).identity
    stored, written = VectorStore.open(stored).newest(bundle), read_vectors(tmp_path / "vectors.parquet", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.parquet"]
    assert len(stored) == 30
    assert stored.device_ids == written.device_ids
    np.testing.assert_array_equal(stored.vectors, written.vectors)
    np.testing.assert_allclose(stored.personal_loss, written.personal_loss, rtol=1e-6)


def test_devices_train_as_their_bundle_says(log, shipped, stored):
    found = VectorStore.open(stored).newest(Bundle.open(str(shipped / "bundle")).identity)
    cloud, data = keras.saving.load_model(shipped / "cloud.keras"), device_data(log, CONFIG, split_log(log, CONFIG), 0)
    users = users_of(found.device_ids)
    expected, larger = (
        fleet.personalize(cloud, data, replace(CONFIG.fleet, batch=batch)).vectors[users] for batch in (8, 32)
    )
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    assert np.abs(found.vectors - larger).max() > 1e-3


def test_a_manifest_s_settings_are_a_configuration_s(shipped):
    manifest = Bundle.open(str(shipped / "bundle")).manifest
    found = DcclConfig(protocol="liked", negatives=7).with_devices_of(manifest)
    assert (found.fleet.batch, found.history_length, found.negatives) == (8, CONFIG.history_length, 7)
    assert found.training() == CONFIG.training()
    manifest.training.negatives = 3
    assert DcclConfig(protocol="next").with_devices_of(manifest).negatives == 3


def test_a_number_that_is_used_up_is_told_before_anything_trains_and_the_next_one_is_the_default(run, shipped, stored):
    bundle = Bundle.open(str(shipped / "bundle")).identity
    before = VectorStore.open(stored).newest(bundle)
    assert set(before.sequences) == {1}  # of a new store
    code, told = run(*SYNTHETIC, f"--store={stored}", "--sequence=1")
    assert code == 1
    assert f"sequence: expected more than 1, which a device has sent to {stored} before, got 1" in told
    assert "devices 30" not in told
    code, told = run(*SYNTHETIC, f"--store={stored}", "--pull=50", "--device_epochs=2")
    assert code == 0, told
    assert f"pull: 50.0 as asked, where {shipped / 'bundle'} says 2" in told
    assert "device_epochs: " not in told
    assert "uploads: {'ACCEPTED': 30}" in told
    after = VectorStore.open(stored).newest(bundle)
    assert set(after.sequences) == {2}
    assert np.abs(after.vectors - before.vectors).max() > 1e-3


def test_vectors_that_the_store_does_not_take_are_kept(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    full = """
import dccl_tf.fleet_uploads, sqlalchemy.exc
def no(*_): raise sqlalchemy.exc.OperationalError("INSERT", None, Exception("disk is full"))
dccl_tf.fleet_uploads.load_fleet = no
"""
    words = ["--protocol=liked", f"--checkpoint={shipped / 'cloud.keras'}", f"--bundle={shipped / 'bundle'}"]
    with calls_of("simulate_fleet", before=full) as program:
        code, told = program(*words, *SYNTHETIC, f"--store=sqlite:///{tmp_path / 'vectors.sqlite'}")
    (kept,) = tmp_path.glob("unsent-*.parquet")
    assert code == 1
    assert "disk is full" in told
    assert f"the vectors lie in {kept.name}" in told
    assert len(read_vectors(kept, Bundle.open(str(shipped / "bundle")).identity)) == 30


@pytest.mark.parametrize("store", ["vectors.db", "sqlite:////no/such/folder/v.sqlite"])
def test_a_store_that_is_none_is_told_before_anything_trains(run, store):
    code, told = run(*SYNTHETIC, f"--store={store}")
    assert code == 1
    assert "store: " in told
    assert "url" not in told
    assert "devices" not in told


def test_a_file_that_exists_is_not_overwritten(run, tmp_path):
    (tmp_path / "old.parquet").write_text("precious")
    code, told = run(*SYNTHETIC, f"--store={tmp_path / 'old.parquet'}")
    assert (code, (tmp_path / "old.parquet").read_text()) == (1, "precious")
    assert "expected a new .parquet file" in told


def test_a_file_whose_writing_was_interrupted_is_not_there(tmp_path, monkeypatch):
    def interrupted(_, path):
        path.write_text("PAR1")
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet_uploads.parquet, "write_table", interrupted)
    devices = fleet.FleetVectors.new(np.zeros((1, 6)))
    with pytest.raises(KeyboardInterrupt):
        fleet_uploads.write_fleet(tmp_path / "v.parquet", fleet_uploads.fleet_batch(bytes(32), ["one"], devices, 1))
    assert list(tmp_path.iterdir()) == []


def test_spark_refuses_what_it_cannot_do(run, log, tmp_path):
    own, store = write_sequences(log, tmp_path / "log.parquet"), f"--store={tmp_path / 'vectors.parquet'}"
    prepared = ("--engine=spark", "--dataset=prepared", f"--interactions={own}")
    other, _ = synthetic_log(0, users=30, items=90)
    for words, message in (
        ((*prepared, store, "--min_user_interactions=3", "--max_user_interactions=5"),
         "min_user_interactions, max_user_interactions: --engine=spark reads a prepared folder as it is"),
        ((*prepared, store, f"--interactions={write_sequences(other, tmp_path / 'other.parquet')}"),
         "checkpoint: expected a model of this log's 90 items"),
        ((*prepared, f"--store=sqlite:///{tmp_path / 'vectors.sqlite'}"), "store: a cluster expects"),
        (("--engine=spark", *SYNTHETIC, store), "dataset: a cluster expects"),
    ):  # fmt: skip
        code, told = run(*words)
        assert (code, message in told) == (1, True), told

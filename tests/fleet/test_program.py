"""The program that trains all users' devices and delivers their vectors."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.run_config import DcclConfig, untrained
from dccl_tf.vectors import VectorStore
from dccl_tf.vectors.parquet import read_vectors
from device_runtime import Bundle
from export import Sizes, export_bundle

ROOT = Path(__file__).parents[2]
FLAGS = ["--dataset=synthetic", "--synthetic_users=30", "--synthetic_items=80", "--protocol=liked", "--device_epochs=2"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder with a checkpoint and its bundle."""
    folder = tmp_path_factory.mktemp("shipped")
    log, _ = synthetic_log(0, users=30, items=80)
    config = DcclConfig(protocol="liked", metapatch_length=6)
    keras.utils.set_random_seed(0)
    cloud = untrained(log, config)
    cloud.save(folder / "cloud.keras")
    export_bundle(
        cloud, folder / "bundle", catalogue=log.catalogue, users=log.users, protocol="liked",
        training=config.training(), sizes=Sizes(candidates=10, train_batch=8),
    )  # fmt: skip
    return folder


def run(shipped, *arguments):
    command = [sys.executable, "-m", "scripts.simulate_fleet", *FLAGS, f"--checkpoint={shipped / 'cloud.keras'}"]
    return subprocess.run(
        [*command, f"--bundle={shipped / 'bundle'}", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_store_and_a_parquet_file_get_the_same_vectors(shipped):
    database, file = f"sqlite:///{shipped / 'vectors.sqlite'}", shipped / "vectors.parquet"
    for store in (database, file):
        done = run(shipped, f"--store={store}")
        assert done.returncode == 0, done.stderr
        assert "devices 30, gate open on" in done.stdout
    bundle = Bundle.open(str(shipped / "bundle")).identity
    stored, written = VectorStore.open(database).newest(bundle), read_vectors(file, bundle)
    assert len(stored) == 30
    assert stored.device_ids == written.device_ids
    np.testing.assert_array_equal(stored.vectors, written.vectors)
    np.testing.assert_allclose(stored.personal_loss, written.personal_loss, rtol=1e-6)


def test_a_file_that_exists_is_not_overwritten(shipped):
    (shipped / "old.parquet").write_text("precious")
    done = run(shipped, f"--store={shipped / 'old.parquet'}")
    assert (done.returncode, (shipped / "old.parquet").read_text()) == (1, "precious")
    assert "expected a new .parquet file" in done.stderr

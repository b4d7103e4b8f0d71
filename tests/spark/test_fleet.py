"""The fleet on Spark ends with the vectors of the fleet in one process."""

import keras
import numpy as np
import pytest

from dccl_tf import fleet
from dccl_tf.data.sequence_files import write_sequences
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.fleet import FleetConfig
from dccl_tf.fleet_uploads import load_fleet, summary
from dccl_tf.real_devices import users_of
from dccl_tf.run_config import DcclConfig, device_data, split_log, untrained
from dccl_tf.spark.fleet import require_devices, simulate
from dccl_tf.vectors import VectorStore
from dccl_tf.vectors.parquet import read_vectors

BUNDLE = bytes(range(32))


@pytest.mark.parametrize("protocol", ["next", "liked"])
def test_equal_vectors(spark, tmp_path, protocol):
    log, _ = synthetic_log(3, users=100, items=120, mean_length=20, longest=60)
    training = FleetConfig(batch=8, epochs=3, learning_rate=0.05, pull=2.0)
    config = DcclConfig(
        protocol=protocol, fleet=training, history_length=12, metapatch_length=6, negatives=2, positions=8
    )
    keras.utils.set_random_seed(0)
    cloud = untrained(log, config)
    cloud.save(tmp_path / "cloud.keras")
    expected = fleet.personalize(cloud, device_data(log, config, split_log(log, config), 0), config.fleet)

    written = simulate(
        spark, write_sequences(log, tmp_path / "log.parquet"), tmp_path / "cloud.keras", BUNDLE, config,
        tmp_path / "vectors.parquet", partitions=3,
    )  # fmt: skip
    assert len(list(written.glob("part-*"))) == 3
    found = read_vectors(written, BUNDLE)
    users = users_of(found.device_ids)
    assert sorted(users) == list(range(100))
    np.testing.assert_allclose(found.vectors, expected.vectors[users], atol=1e-6)
    np.testing.assert_array_equal(found.gates, expected.gates[users])
    np.testing.assert_array_equal(found.samples, expected.samples[users])
    np.testing.assert_allclose(found.personal_loss, expected.personal_loss[users], atol=1e-6)
    start = fleet.FleetVectors.new(cloud.encoder.start(log.users.profile)).vectors
    assert np.abs(expected.vectors - start).max() > 0.02  # and the vectors did move

    store = VectorStore.open(f"sqlite:///{tmp_path / 'vectors.sqlite'}")
    store.register_bundle(BUNDLE, 6)
    assert load_fleet(written, store) == {"ACCEPTED": 100}
    assert load_fleet(written, store) == {"DUPLICATE": 100}
    stored = store.newest(BUNDLE)
    assert stored.device_ids == found.device_ids
    np.testing.assert_array_equal(stored.vectors, found.vectors)
    np.testing.assert_allclose(summary(written)["personal_loss"], expected.personal_loss.mean(), atol=1e-6)


def test_moments_of_the_whole_log_are_refused(tmp_path):
    with pytest.raises(ValueError, match="split: expected 'halves' with engine 'spark', got 'time'"):
        simulate(None, tmp_path, tmp_path, BUNDLE, DcclConfig(split="time"), tmp_path / "out")


def test_vectors_that_another_machine_keeps_to_itself_are_missed(tmp_path):
    require_devices(tmp_path, 0, "v.parquet")
    with pytest.raises(ValueError, match=r"output: expected the vectors of 1,000 devices in v.parquet, got 0; name a"):
        require_devices(tmp_path, 1000, "v.parquet")

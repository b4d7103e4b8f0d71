"""The fleet is the devices: same samples, same order, same vectors as the runtime with the exported file."""

import gc
import json
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from dccl_tf import fleet
from dccl_tf.data.schema import Span
from dccl_tf.data.sequences import sorted_log
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.fleet import FleetConfig
from dccl_tf.real_devices import RealDevices, compare, owners_of
from dccl_tf.run_config import DcclConfig, training_data, untrained
from dccl_tf.vectors import VectorStore
from device_runtime import LogLimits, training_schedule
from export import Sizes, export_bundle

USERS = 20


def settings(protocol: str, **changes) -> DcclConfig:
    """30 steps: 10 epochs of the 3 batches of 8 that 24 training rows fill."""
    trained = {"batch": 8, "epochs": 10, "learning_rate": 0.05, "pull": 2.0} | changes
    sizes = {"history_length": 12, "metapatch_length": 6, "negatives": 2}
    return DcclConfig(protocol=protocol, fleet=FleetConfig(**trained), **sizes)


def phase(log, config: DcclConfig):
    """Interactions 5 to 35 of every user, or 5 to 15 where negatives make three rows of each."""
    stop = 35 if config.protocol == "liked" else 15
    count = len(log.users)
    return training_data(log, config, Span(np.full(count, 5), np.full(count, stop)), seed=7)


@pytest.fixture(autouse=True)
def same_weights():
    """Whatever ran before, each test draws the same model."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def log():
    return synthetic_log(3, users=USERS, items=100, shortest=36, mean_length=40, longest=44)[0]


@pytest.mark.parametrize("runtime", ["tflite-runtime", "ai-edge-litert", "tensorflow"])
@pytest.mark.parametrize(("protocol", "optimizer"), [("liked", "adam"), ("next", "sgd")])
def test_fleet_equals_real_devices(log, tmp_path, runtime, protocol, optimizer):
    if find_spec(runtime.replace("-", "_")) is None:
        pytest.skip(f"{runtime} is not installed here")
    config = settings(protocol, optimizer=optimizer, learning_rate=0.05 if optimizer == "adam" else 0.02)
    cloud, data = untrained(log, config), phase(log, config)
    simulated = fleet.personalize(cloud, [data], config.fleet)
    assert set(simulated.samples) == {24}
    store = VectorStore.open(f"sqlite:///{tmp_path / 'vectors.sqlite'}")
    bundle = export_bundle(
        cloud, tmp_path / "bundle", catalogue=log.catalogue, users=log.users, protocol=protocol,
        training=config.training(), sizes=Sizes(candidates=10, train_batch=8),
    )  # fmt: skip
    real = RealDevices.choose(np.arange(USERS), USERS, 0, tmp_path / "devices", runtime)
    results = real.personalize(bundle, [data], store)
    assert {result["report"]["steps"] for result in results} == {30}
    found = compare(results, simulated)
    assert found["devices"] == USERS
    assert found["largest_difference"] < 1e-5
    assert found["equal_gates"] == USERS
    assert np.abs(simulated.vectors - fleet_start(cloud, log)).max() > 0.05  # and the vectors did move


def test_real_devices_run_from_any_folder_by_relative_paths(log, tmp_path, monkeypatch):
    """As those of `dccl-run` do, whose folder is runs/DATASET-seedN by default."""
    monkeypatch.chdir(tmp_path)
    config = settings("liked")
    bundle = export_bundle(
        untrained(log, config), "bundle", catalogue=log.catalogue, users=log.users, protocol="liked",
        training=config.training(), sizes=Sizes(candidates=10, train_batch=8),
    )  # fmt: skip
    real = RealDevices.choose(np.arange(USERS), 2, 0, "devices")
    results = real.personalize(bundle, [phase(log, config)], VectorStore.open("sqlite:///vectors.sqlite"))
    assert len(results) == 2
    assert sorted(path.name for path in (tmp_path / "devices").iterdir()) == sorted(r["device_id"] for r in results)


def test_a_user_with_more_rows_than_a_log_takes_equals_a_real_device(log, tmp_path):
    """Of 20,100 interactions a phone keeps the newest 18,000 to train on, and before them their histories."""
    config = settings("liked", epochs=1, batch=32, learning_rate=0.01)
    random, count = np.random.default_rng(0), 20_100
    items, labels = random.integers(1, 101, count), random.integers(0, 2, count)
    owners = np.zeros(count, np.int64)
    long = sorted_log(owners, items, np.arange(count), labels, users=log.users, catalogue=log.catalogue)
    cloud = untrained(long, config)
    middle = np.minimum(long.lengths, 3000)  # the older phase loses 2,100
    spans = Span(0 * middle, middle), Span(middle, long.lengths)
    data = [training_data(long, config, span, seed=7) for span in spans]
    simulated = fleet.personalize(cloud, data, config.fleet)
    assert simulated.samples[0] + simulated.heldout_samples[0] == 18_000
    bundle = export_bundle(
        cloud, tmp_path / "bundle", catalogue=long.catalogue, users=long.users, protocol="liked",
        training=config.training(), sizes=Sizes(candidates=10, train_batch=32),
    )  # fmt: skip
    real = RealDevices(np.array([0]), tmp_path / "devices")
    results = real.personalize(bundle, data, VectorStore.open("sqlite://"))
    assert compare(results, simulated)["largest_difference"] < 1e-5


@pytest.mark.parametrize(
    ("starts", "stops", "kept"),
    [
        ((0, 4), (4, 10), (0, 4)),  # 10 interactions, 20 rows: all
        ((0, 4), (4, 11), (2, 4)),  # 22 rows, 18 stay
        ((0, 4), (4, 40), (4, 31)),  # more than the older phase has
        ((3, 3), (3, 50), (3, 41)),
    ],
)
def test_phases_are_cut_as_a_log_of_20_rows_cuts_them(log, monkeypatch, starts, stops, kept):
    monkeypatch.setattr(fleet, "LogLimits", partial(LogLimits, samples=20))
    spans = [Span(np.full(USERS, start), np.full(USERS, stop)) for start, stop in zip(starts, stops, strict=True)]
    config = replace(settings("next"), negatives=1)
    data = [training_data(log, config, span, seed=7) for span in spans]
    found = fleet.as_logged(data)
    assert [(int(one.span.start[0]), int(one.span.stop[0])) for one in found] == list(zip(kept, stops, strict=True))


def test_devices_side_by_side_are_bounded_by_their_padded_rows(log, monkeypatch):
    """Of 40 rows two devices of 20 may be padded to, or eight of 5; a device alone may have more."""
    config = settings("liked", devices_at_once=3)
    monkeypatch.setattr(fleet, "ROWS_AT_ONCE", 40)
    chunks = fleet.Fleet(untrained(log, config), config.fleet)._chunks(np.array([5, 20, 0, 10, 99, 5, 5, 5]))
    assert [chunk.tolist() for chunk in chunks] == [[4], [1, 3], [0, 5, 6], [7]]


def fleet_start(cloud, log):
    return cloud.encoder.start(log.users.profile).numpy()


def test_devices_at_once_do_not_matter(log):
    config = settings("liked")
    cloud = untrained(log, config)
    one, many = (
        fleet.personalize(cloud, [phase(log, c)], c.fleet) for c in (settings("liked", devices_at_once=7), config)
    )
    np.testing.assert_allclose(one.vectors, many.vectors, atol=1e-5)
    np.testing.assert_array_equal(one.gates, many.gates)


def test_parts_of_several_sizes_do_not_matter(log):
    """Graphs are compiled once for parts whose devices have 30 rows and parts whose devices have 4."""
    config = settings("liked", devices_at_once=6)
    cloud = untrained(log, config)
    stop = np.where(np.arange(USERS) < 11, 35, 9)
    data = training_data(log, config, Span(np.full(USERS, 5), stop), seed=7)
    together, apart = (fleet.personalize(cloud, [data], c.fleet) for c in (settings("liked"), config))
    np.testing.assert_allclose(apart.vectors, together.vectors, atol=1e-5)
    assert sorted(set(apart.samples)) == [4, 24]  # a fifth of 30 is held out, of 4 nothing


def test_phases_may_be_packed_in_rows_of_other_lengths(log):
    config = settings("liked", epochs=2)
    cloud, middle = untrained(log, config), np.full(USERS, 20)
    parts = [Span(np.full(USERS, 5), middle), Span(middle, np.full(USERS, 35))]
    first, second = (training_data(log, config, span, seed=7) for span in parts)
    alike, otherwise = (
        fleet.personalize(cloud, [replace(first, positions=8), replace(second, positions=positions)], config.fleet)
        for positions in (8, 2)
    )
    np.testing.assert_allclose(otherwise.vectors, alike.vectors, atol=1e-5)


def test_nothing_of_a_log_stays_in_memory_after_its_devices_have_trained():
    config = settings("liked", epochs=1)
    log, _ = synthetic_log(3, users=5, items=100, shortest=36, mean_length=40, longest=44)
    devices = fleet.Fleet(untrained(log, config), config.fleet)
    devices.personalize([phase(log, config)])
    gone = weakref.ref(log)
    del log
    gc.collect()
    assert gone() is None


def test_no_schedule_stays_in_memory_after_its_devices_have_trained(log, monkeypatch):
    made = []

    def schedule(*arguments):
        found = training_schedule(*arguments)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(fleet, "training_schedule", schedule)
    config = settings("liked", epochs=1)
    devices = fleet.Fleet(untrained(log, config), config.fleet)
    devices.personalize([phase(log, config)])
    gc.collect()
    assert [one() for one in made] == [None]  # all devices have as many rows


def test_no_epochs_only_weigh(log):
    config = settings("liked", epochs=0)
    cloud = untrained(log, config)
    start = np.random.default_rng(0).normal(size=(USERS, 6)).astype(np.float32)
    found = fleet.personalize(cloud, [phase(log, config)], config.fleet, start=start)
    np.testing.assert_array_equal(found.vectors, start)
    np.testing.assert_array_equal(found.gates, (found.personal_loss < found.cloud_loss).astype(np.float32))


def test_users_without_samples_keep_their_start(log):
    config = settings("liked")
    cloud = untrained(log, config)
    data = phase(log, config).of_users(np.array([3, 4]))
    found = fleet.personalize(cloud, [data], config.fleet)
    idle = np.setdiff1d(np.arange(USERS), [3, 4])
    np.testing.assert_array_equal(found.vectors[idle], fleet_start(cloud, log)[idle])
    assert found.samples.nonzero()[0].tolist() == [3, 4]
    assert not found.gates[idle].any()


def test_a_huge_prior_holds_every_vector_at_its_start(log):
    config = settings("liked", optimizer="sgd", learning_rate=1e-7, pull=1e6)
    cloud = untrained(log, config)
    found = fleet.personalize(cloud, [phase(log, config)], config.fleet)
    np.testing.assert_allclose(found.vectors, fleet_start(cloud, log), atol=1e-4)


@pytest.mark.parametrize("heldout", [0.2, 0.0])
def test_training_that_diverges_ends_where_it_was_sound(log, heldout):
    """A prior of 320 and steps of 1 throw a vector ever further: |1 - 320 / 24| = 12.3 times a step, past what float32
    can hold (3.4e38) in 36 steps or fewer. A device stops there, and keeps its best vector of an epoch before."""
    config = settings("liked", optimizer="sgd", learning_rate=1.0, pull=320.0, epochs=60, heldout_fraction=heldout)
    cloud = untrained(log, config)
    found = fleet.personalize(cloud, [phase(log, config)], config.fleet)
    assert np.isfinite(found.vectors).all()
    assert (found.samples > 0).all()  # the first epoch was sound
    at_once = replace(config.fleet, pull=1e30)  # not even the first is
    lost = fleet.personalize(cloud, [phase(log, config)], at_once)
    np.testing.assert_array_equal(lost.vectors, fleet_start(cloud, log))
    assert not lost.samples.any()
    assert not lost.gates.any()
    assert np.isnan(lost.personal_loss).all()


def test_only_the_very_id_of_a_user_names_the_user():
    names = ["user-7", "user-0", "user-007", "user-00", "user-10", "user-7 ", "user-٧", "phone"]
    assert owners_of(names, 10).tolist() == [7, 0, -1, -1, -1, -1, -1, -1]


def test_bad_settings_are_named():
    for wrong, message in (
        ({"epochs": -1}, "epochs"),
        ({"heldout_fraction": 1.0}, "heldout"),
        ({"optimizer": "x"}, "x"),
        ({"learning_rate": 0.0}, "learning_rate: expected more than 0 on devices, got 0.0"),
        ({"pull": float("nan")}, "pull: expected 0 or more on devices, got nan"),
        ({"gate_margin": float("inf")}, "gate_margin: expected a finite number, got inf"),
    ):
        with pytest.raises(ValueError, match=message):
            FleetConfig(**wrong)


def test_no_tensorflow_in_the_devices_process():
    program = "import sys, json, device_runtime.batch; print(json.dumps('tensorflow' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False

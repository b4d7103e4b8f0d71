"""What `scale.py` measures, each in a process of its own, and the made-up data for it."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

USERS_A_ROW = 1 / 20  # of the log: 20 interactions a user
ITEMS = 100_000
ROWS_A_FILE = 1_000_000
HISTORY = 36  # interactions of a simulated user: 25 of them before validation, of which 5 are held out and 20 learned
CORES = 2
WIDTH = 32  # of an item's embedding


def prepare(work: str, folder: str, **sizes: Any) -> None:
    """Makes what `work` needs, where it is missing."""
    place = Path(folder)
    if work == "sequences":
        _log(place, sizes["rows"])
    elif work != "table":
        _model(place)
        if work == "fleet":
            _users(place, sizes["devices"])


def sequences(folder: str, rows: int, engine: str) -> dict[str, Any]:
    """A Parquet log to stored sequences, with a filter of short histories and a cap of long ones."""
    log, output = Path(folder) / f"log-{rows}", Path(folder) / f"sequences-{engine}.parquet"
    shutil.rmtree(output, ignore_errors=True)
    began = time.perf_counter()
    if engine == "spark":
        from dccl_tf.spark.prepare import prepare_table
        from dccl_tf.spark.session import session

        with session(f"local[{CORES}]", memory="3g", partitions=32) as spark:
            prepare_table(spark, log, output, min_user_interactions=5, max_user_interactions=1000)
    else:
        from dccl_tf.data.filters import cap_histories, filter_log
        from dccl_tf.data.sequence_files import write_sequences
        from dccl_tf.data.tables import load_table

        write_sequences(cap_histories(filter_log(load_table(log), 5), 1000), output)
    seconds = time.perf_counter() - began
    from dccl_tf.data.sequence_files import SequenceFolder

    words = SequenceFolder(output).words
    return {
        "seconds": round(seconds, 1),
        "rows": rows,
        "rows_a_second": round(rows / seconds),
        "users": words["users"],
        "input_bytes": _bytes(log),
        "output_bytes": _bytes(output),
    }


def fleet(folder: str, devices: int) -> dict[str, Any]:
    """One epoch of 20 samples for each of many devices, on Spark."""
    from dccl_tf.spark.fleet import simulate
    from dccl_tf.spark.session import session

    place = Path(folder)
    output = place / f"vectors-{devices}.parquet"
    shutil.rmtree(output, ignore_errors=True)
    began = time.perf_counter()
    with session(f"local[{CORES}]", memory="1g") as spark:
        started = time.perf_counter()
        simulate(spark, place / f"users-{devices}.parquet", place / "cloud.keras", bytes(32), config(), output)
        seconds = time.perf_counter() - started
    samples = pq.read_table(output, columns=["samples"])["samples"].to_numpy()
    if len(samples) != devices or (samples != 20).any():
        raise ValueError(f"devices: expected {devices} with 20 samples each, got {len(samples)}")
    return {
        "devices": devices,
        "seconds": round(seconds, 1),
        "session_seconds": round(started - began, 1),
        "devices_a_second": round(devices / seconds, 1),
        "output_bytes": _bytes(output),
    }


def devices(folder: str, count: int) -> dict[str, Any]:
    """The same for real devices, one interpreter each, in one process."""
    from device_runtime import Bundle, Device, PersonalizeConfig

    place = Path(folder)
    bundle = Bundle.open(str(place / "bundle"))
    random = np.random.default_rng(0)
    shutil.rmtree(place / "devices", ignore_errors=True)
    began, spent = time.perf_counter(), time.process_time()
    for number in tqdm(range(count), desc="devices", unit="device"):
        items, labels = random.integers(1, ITEMS + 1, 25).tolist(), random.integers(0, 2, 25).tolist()
        with Device.open(str(place / "devices" / str(number)), bundle, device_id=f"d{number}", key=bytes(32)) as device:
            device.log_many(items, labels)
            report = device.personalize(PersonalizeConfig(epochs=1))
            device.upload()
        if report.steps != 1:
            raise ValueError(f"steps: expected one of 20 samples, got {report.steps}")
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    shutil.rmtree(place / "devices")
    return {
        "devices": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(spent, 2),
        "devices_a_second": round(count / seconds, 1),
    }


def uploads(folder: str, count: int) -> dict[str, Any]:
    """Vectors as signed uploads into a store in SQLite."""
    from dccl_tf.fleet import FleetVectors
    from dccl_tf.fleet_uploads import fleet_batch, load_fleet, write_fleet
    from dccl_tf.vectors import VectorStore

    place, length = Path(folder), config().metapatch_length
    random = np.random.default_rng(0)
    vectors = FleetVectors(
        vectors=random.normal(0, 0.1, (count, length)).astype(np.float32),
        gates=np.ones(count, np.float32),
        samples=np.full(count, 20),
        heldout_samples=np.full(count, 5),
        cloud_loss=np.full(count, 0.6),
        personal_loss=np.full(count, 0.5),
    )
    write_fleet(place / "uploads.parquet", fleet_batch(bytes(32), [f"d{n}" for n in range(count)], vectors, 1))
    database = place / "uploads.sqlite"
    for path in place.glob("uploads.sqlite*"):
        path.unlink()
    store = VectorStore.open(f"sqlite:///{database}")
    store.register_bundle(bytes(32), length)
    began, spent = time.perf_counter(), time.process_time()
    receipts = load_fleet(place / "uploads.parquet", store)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    store.close()
    if receipts != {"ACCEPTED": count}:
        raise ValueError(f"uploads: expected {count} accepted, got {dict(receipts)}")
    return {
        "uploads": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(spent, 2),
        "uploads_a_second": round(count / seconds),
        "store_bytes_a_device": round(database.stat().st_size / count),
        "parquet_bytes_a_device": round(_bytes(place / "uploads.parquet") / count),
    }


def table(folder: str, items: int) -> dict[str, Any]:
    """A step of the trainer's optimiser on an item table, all rows of which move whatever the batch."""
    import tensorflow as tf

    from dccl_tf.adam import FusedAdam

    variable = tf.Variable(tf.random.normal([items, WIDTH]))
    gradient = tf.random.normal([items, WIDTH])
    optimizer = FusedAdam(1e-3, weight_decay=0.1)
    step = tf.function(lambda: optimizer.apply([gradient], [variable]))
    step()
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(20):
        step()
    variable.numpy()
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    return {
        "items": items,
        "width": WIDTH,
        "steps": 20,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(spent, 2),
    }


def config():  # noqa: ANN201 (a DcclConfig, whose module imports TensorFlow)
    """DIN and the devices of the defaults, but for one epoch."""
    from dccl_tf.run_config import DcclConfig

    defaults = DcclConfig(protocol="liked")
    return replace(defaults, fleet=replace(defaults.fleet, epochs=1, devices_at_once=1024))


def _log(place: Path, rows: int) -> None:
    """A log in Parquet files: a few users do most, a few items are met most, in order of time."""
    folder = place / f"log-{rows}"
    if (folder / "_done").exists():
        return
    folder.mkdir(exist_ok=True)
    random, users = np.random.default_rng(0), int(rows * USERS_A_ROW)
    for first in tqdm(range(0, rows, ROWS_A_FILE), desc="log", unit="file"):
        count = min(ROWS_A_FILE, rows - first)
        columns = {
            "user_id": (users * random.random(count) ** 1.5).astype(np.int64),
            "item_id": (ITEMS * random.random(count) ** 3).astype(np.int64) + 1,
            "timestamp": 1_600_000_000 + first + np.arange(count),
        }
        pq.write_table(pa.table(columns), folder / f"part-{first // ROWS_A_FILE:04d}.parquet")
    (folder / "_done").touch()  # readers of Parquet leave out what begins so


def _catalogue():  # noqa: ANN202 (a Catalogue)
    from dccl_tf.data.schema import Catalogue

    categories = np.zeros((ITEMS + 2, 1), np.int32)
    categories[1:-1, 0] = np.random.default_rng(0).integers(1, 101, ITEMS)
    return Catalogue(np.arange(1, ITEMS + 1), categories, tuple(f"category {n}" for n in range(1, 101)))


def _fields():  # noqa: ANN202 (profile fields)
    from dccl_tf.data.schema import ProfileField

    return ProfileField("age", tuple("abcdef")), ProfileField("region", tuple("nesw"))


def _model(place: Path) -> None:
    """An untrained model and its bundle: what a step costs does not depend on its weights."""
    if (place / "bundle" / "manifest.pb").exists():
        return
    import keras

    from dccl_tf.data.schema import InteractionLog, Users
    from dccl_tf.run_config import untrained
    from export import export_bundle

    users = Users(np.arange(1), np.zeros((1, 2), np.int32), _fields())
    nothing = np.zeros(0, np.int32)
    log = InteractionLog(nothing, nothing, nothing, np.zeros(2, np.int64), users, _catalogue())
    keras.utils.set_random_seed(0)
    cloud = untrained(log, config())
    cloud.save(place / "cloud.keras")
    export_bundle(
        cloud, place / "bundle", catalogue=log.catalogue, users=users, protocol="liked", training=config().training()
    )


def _users(place: Path, count: int) -> None:
    """Stored sequences of so many users, made part by part."""
    from dccl_tf.data.schema import Users
    from dccl_tf.data.sequence_files import new_folder, sequence_schema

    folder = place / f"users-{count}.parquet"
    if (folder / "log.json").exists():
        return
    random = np.random.default_rng(0)
    profile = np.stack([random.integers(0, 7, count), random.integers(0, 5, count)], axis=1).astype(np.int32)
    users = Users(np.arange(count), profile, _fields())
    schema = sequence_schema(labels=True)
    with new_folder(
        folder, users, _catalogue(), interactions=count * HISTORY, labels=True, counts={}, source="made up, seed 0"
    ) as sequences:
        sequences.mkdir()
        for first in tqdm(range(0, count, 50_000), desc="users", unit="file"):
            some = min(50_000, count - first)
            ends = pa.array(np.arange(some + 1, dtype=np.int32) * HISTORY)
            size = some * HISTORY
            lists = (
                random.integers(1, ITEMS + 1, size, np.int32),
                np.tile(np.arange(HISTORY, dtype=np.int64), some),
                random.integers(0, 2, size, np.int8),
            )
            arrays = [pa.ListArray.from_arrays(ends, pa.array(values)) for values in lists]
            table = pa.Table.from_arrays([pa.array(np.arange(first, first + some)), *arrays], schema=schema)
            pq.write_table(table, sequences / f"part-{first // 50_000:04d}.parquet", row_group_size=8192)


def _bytes(path: Path) -> int:
    """Of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())

"""The fleet on Spark: every task trains the devices of its part of the users, side by side (`dccl_tf.fleet`).

A task reads its users' stored sequences slice by slice, so that its memory does not depend on their number. What a
device learns depends on its own samples alone, and negatives on its user's number in the whole log: the vectors are
those of the single-process way.
"""

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import dataset

from dccl_tf.data.sequence_files import SequenceFolder
from dccl_tf.files import whole
from dccl_tf.fleet import Fleet, FleetConfig
from dccl_tf.fleet_uploads import FLEET_SCHEMA, fleet_batch
from dccl_tf.real_devices import device_id
from dccl_tf.run_config import DcclConfig, device_data, split_log
from dccl_tf.spark.parts import USERS_AT_ONCE, logs

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import SparkSession

USERS_A_TASK = 16 * USERS_AT_ONCE  # some minutes of work


def simulate(
    spark: "SparkSession",
    log: str | Path,
    checkpoint: str | Path,
    bundle: bytes,
    config: DcclConfig,
    output: str | Path,
    *,
    sequence: int = 1,
    partitions: int | None = None,
) -> Path:
    """Trains every user's device and writes their vectors as Parquet, which `fleet_uploads` reads.

    Args:
      spark: a session.
      log: folder of `sequence_files`, which all machines see.
      checkpoint: the .keras file of the cloud model; it travels to the machines.
      bundle: identity of its bundle.
      config: what is a sample, and how a device trains.
      output: folder to write; must not exist, and is there when all vectors are.
      sequence: number of these uploads.
      partitions: parts of the users, a task each; by default enough to keep all cores at work.

    Raises:
      FileNotFoundError: there is no such log.
      ValueError: the log was not prepared, the split is by moments of the whole log, or vectors did not come back.
    """
    if config.split != "halves":
        raise ValueError(
            f"split: expected 'halves' with engine 'spark', got {config.split!r}, whose moments depend on the whole log"
        )
    opened = SequenceFolder(log)
    content = Path(checkpoint).read_bytes()
    digest, shared = hashlib.sha256(content).hexdigest(), spark.sparkContext.broadcast(content)

    def train(batches):  # noqa: ANN001, ANN202 (Spark reads a function's hints, and wants none or its own)
        fleet = _fleet(digest, shared, config.fleet)
        for part in logs(opened, batches):
            data = device_data(part, config, split_log(part, config), config.rounds - 1)
            names = list(map(device_id, part.users.numbers))
            yield fleet_batch(bundle, names, fleet.personalize(data, bar=False), sequence)

    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    frame = spark.read.parquet(str(opened.sequences))
    # Spark parts files by their bytes, and these few bytes are much work.
    enough = partitions or max(2 * spark.sparkContext.defaultParallelism, opened.words["users"] // USERS_A_TASK)
    if partitions or frame.rdd.getNumPartitions() < enough:
        frame = frame.repartitionByRange(enough, "user").sortWithinPartitions("user")
    trained = Observation()
    vectors = frame.mapInArrow(train, _spark_schema()).observe(trained, F.count(F.lit(1)).alias("devices"))
    with whole(Path(output)) as folder:
        vectors.write.parquet(str(folder))
        require_devices(folder, trained.get["devices"], output)
    return Path(output)


def require_devices(folder: Path, trained: int, output: str | Path) -> None:
    """Raises ValueError where this machine sees fewer vectors than tasks have written."""
    found = dataset.dataset(str(folder), schema=FLEET_SCHEMA, format="parquet").count_rows()
    if found != trained:
        raise ValueError(
            f"output: expected the vectors of {trained:,} devices in {output}, got {found:,}; "
            "name a folder that all machines see under this path"
        )


_LOADED: dict[tuple[str, FleetConfig], Fleet] = {}  # of this process, which does many tasks; one at a time


def _fleet(digest: str, checkpoint: "Broadcast[bytes]", config: FleetConfig) -> Fleet:
    """The model of a checkpoint with this digest, loaded and compiled once a process."""
    if (digest, config) not in _LOADED:
        import keras
        import tensorflow as tf

        with suppress(RuntimeError):  # Spark runs a task a core; a TensorFlow that is at work keeps the threads it has
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cloud.keras"
            path.write_bytes(checkpoint.value)
            _LOADED.clear()
            _LOADED[digest, config] = Fleet(keras.saving.load_model(path), config)
    return _LOADED[digest, config]


def _spark_schema() -> str:
    """FLEET_SCHEMA in Spark's words."""
    words = {
        pa.string(): "string",
        pa.binary(): "binary",
        pa.int64(): "long",
        pa.float64(): "double",
        pa.list_(pa.float32()): "array<float>",
    }
    return ", ".join(f"{field.name} {words[field.type]}" for field in FLEET_SCHEMA)

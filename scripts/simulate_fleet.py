"""Trains every user's device at once, as phones would, and puts the vectors into a store as signed uploads.

  dccl-simulate-fleet --checkpoint=cloud.keras --bundle=bundle --protocol=liked --store=sqlite:///vectors.sqlite

--checkpoint is the model that --bundle was exported from. Devices train as its manifest says (--pull and other flags of
devices that are given count instead, and the log says so), on each user's whole past up to validation, or with
--memory=rounds on the second half alone, as in dccl-run. A --store that ends in .parquet gets the vectors as a file or
folder of Parquet, which dccl-train-cloud takes too.

More users than one process can hold: --engine=spark, with the same vectors. All machines must see the log and the
vectors, the checkpoint goes to them:

  dccl-simulate-fleet --engine=spark --dataset=prepared --interactions=sequences.parquet --checkpoint=cloud.keras \
      --bundle=bundle --protocol=liked --store=vectors.parquet
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from scripts import flags_data, flags_model, flags_spark, programs

if TYPE_CHECKING:
    from dccl_tf.cloud_model import CloudModel
    from dccl_tf.run_config import DcclConfig
    from dccl_tf.vectors import VectorStore
    from device_runtime import Bundle

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file of the shipped cloud model.")
_BUNDLE = flags.DEFINE_string("bundle", None, "Its bundle, which says how devices train.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "What the samples are.")
_STORE = flags.DEFINE_string("store", "sqlite:///vectors.sqlite", "URL of the vector store, or a new .parquet file.")
_SEQUENCE = flags.DEFINE_integer(
    "sequence", None, "Number of these uploads; by default the next one that --store has not seen.", lower_bound=1
)
_ACTING = (
    *("seed", "split", "rounds", "memory", "negatives", "batch_positions"),
    *("device_optimizer", "device_learning_rate", "device_epochs", "pull", "gate_margin"),
)
_FILTERS = ("min_user_interactions", "min_item_interactions", "max_user_interactions", "max_users")


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-simulate-fleet", argv, _run)


def _run() -> None:
    if not _CHECKPOINT.value or not _BUNDLE.value:
        raise ValueError(f"checkpoint, bundle: expected both, got {_CHECKPOINT.value} and {_BUNDLE.value}")
    flags_model.refuse_idle(flags.FLAGS, _ACTING, "a fleet")
    from device_runtime import Bundle

    vectors = Path(_STORE.value) if _STORE.value.rstrip("/").endswith(".parquet") else None
    if vectors:
        if vectors.exists():
            raise ValueError(f"store: expected a new .parquet file, got {vectors}, which exists; delete it first")
        vectors.parent.mkdir(parents=True, exist_ok=True)
    from dccl_tf.bundle_models import check_exported_from

    bundle, cloud = Bundle.open(_BUNDLE.value), flags_model.load_checkpoint(_CHECKPOINT.value)
    check_exported_from(bundle, cloud, _CHECKPOINT.value, _PROTOCOL.value)
    config = flags_model.config_of(flags.FLAGS, _PROTOCOL.value, cloud, _CHECKPOINT.value)
    config = flags_model.config_with_devices_of(flags.FLAGS, bundle, config)
    store = None if vectors else _database(bundle)
    sequence = _sequence(store)
    with tempfile.TemporaryDirectory() as folder:
        written = vectors or Path(folder) / "vectors.parquet"
        train = _with_spark if flags_spark.ENGINE.value == "spark" else _in_process
        train(config, cloud, bundle, sequence, written, Path(folder))
        from dccl_tf.fleet_uploads import summary

        found = summary(written)
        print(f"devices {found['devices']:,}, gate open on {found['open_gates']:.1%}")
        print(f"held-out log loss: cloud {found['cloud_loss']:.4f}, personal {found['personal_loss']:.4f}")
        if store:
            _send_or_keep(written, store)


def _database(bundle: "Bundle") -> "VectorStore":
    """The store, which knows the bundle: opened before hours of training."""
    from dccl_tf.vectors import VectorStore

    try:
        store = VectorStore.open(_STORE.value)
        store.register_bundle(bundle.identity, bundle.manifest.metapatch_length)
    except ValueError as error:
        raise ValueError(f"store: {str(error).removeprefix('url: ')}") from error
    return store


def _sequence(store: "VectorStore | None") -> int:
    """The number of these uploads, which the store is sure to take: asked before hours of training, too."""
    from dccl_tf.real_devices import PREFIX

    highest = store.highest_sequence(PREFIX) if store else 0
    if _SEQUENCE.value is not None and _SEQUENCE.value <= highest:
        raise ValueError(
            f"sequence: expected more than {highest}, which a device has sent to {_STORE.value} before, got "
            f"{_SEQUENCE.value}; leave --sequence out for the next one"
        )
    return _SEQUENCE.value or highest + 1


def _send_or_keep(vectors: Path, store: "VectorStore") -> None:
    """Delivers what was trained; what a store does not take is not lost."""
    try:
        _send(vectors, store)
    except Exception as error:
        kept = Path(f"unsent-{time.strftime('%Y%m%d-%H%M%S')}.parquet")
        shutil.move(vectors, kept)
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"{said}; the vectors lie in {kept}, which dccl-train-cloud takes as a --store") from error


def _send(vectors: Path, store: "VectorStore") -> None:
    from dccl_tf.fleet_uploads import load_fleet

    receipts = load_fleet(vectors, store)
    print(f"uploads: {dict(receipts)}")
    if stale := receipts["STALE_SEQUENCE"]:
        raise ValueError(
            f"store: expected no other uploads of these devices meanwhile, got newer ones from {stale:,} of "
            f"{receipts.total():,}; their vectors stay, try again"
        )


def _in_process(
    config: "DcclConfig", cloud: "CloudModel", bundle: "Bundle", sequence: int, output: Path, _: Path
) -> None:
    from dccl_tf import fleet, fleet_uploads, real_devices, run_config

    log, _ = flags_data.load_log(flags.FLAGS)
    cloud.check_made_for(log.catalogue, log.users, _CHECKPOINT.value)
    data = run_config.device_data(log, config, run_config.split_log(log, config), config.rounds - 1)
    devices = fleet.personalize(cloud, data, config.fleet)
    names = [real_devices.device_id(user) for user in range(len(log.users))]
    fleet_uploads.write_fleet(output, fleet_uploads.fleet_batch(bundle.identity, names, devices, sequence))


def _with_spark(
    config: "DcclConfig", cloud: "CloudModel", bundle: "Bundle", sequence: int, output: Path, folder: Path
) -> None:
    from dccl_tf.data.sequence_files import SequenceFolder, write_sequences
    from dccl_tf.spark.fleet import simulate

    values = flags.FLAGS
    path = Path(values.interactions or "")
    prepared = values.dataset == "prepared" and path.is_dir()
    if prepared:
        flags_data.require_fitting(values)  # as `load_log` does otherwise
        if given := [name for name in _FILTERS if values[name].value is not None]:
            raise ValueError(
                f"{', '.join(given)}: --engine=spark reads a prepared folder as it is, expected no filter beside it, "
                f"got {', '.join(str(values[name].value) for name in given)}; filter with dccl-prepare-data"
            )
    else:
        path = write_sequences(flags_data.load_log(values)[0], folder / "log.parquet")
    log = SequenceFolder(path)
    cloud.check_made_for(log.catalogue(), log.users(range(1)), _CHECKPOINT.value)
    with flags_spark.session() as spark:
        here = (not prepared and "dataset") or (output.parent == folder and "store")
        if here and not spark.sparkContext.master.startswith("local"):
            raise ValueError(
                f"{here}: a cluster expects --dataset=prepared and a --store, both .parquet folders that all machines "
                f"see, got --dataset={values.dataset} and --store={_STORE.value}"
            )
        simulate(
            spark, path, _CHECKPOINT.value, bundle.identity, config, output,
            sequence=sequence, partitions=flags_spark.PARTITIONS.value,
        )  # fmt: skip


def cli() -> None:
    """The console command `dccl-simulate-fleet`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__, flags_spark.__name__)


if __name__ == "__main__":
    cli()

"""Trains every user's device at once, as phones would, and puts the vectors into a store as signed uploads.

  dccl-simulate-fleet --checkpoint=cloud.keras --bundle=bundle --protocol=liked --store=sqlite:///vectors.sqlite

--checkpoint is the model that --bundle was exported from. Devices train on each user's whole past up to validation, or
with --memory=rounds on the second half alone, as in dccl-run. A --store that ends in .parquet gets the vectors as a
file or folder of Parquet, which dccl-train-cloud takes too.

More users than one process can hold: --engine=spark, with the same vectors. All machines must see the log, the
checkpoint goes to them:

  dccl-simulate-fleet --engine=spark --dataset=prepared --interactions=sequences.parquet --checkpoint=cloud.keras \
      --bundle=bundle --protocol=liked --store=vectors.parquet
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from scripts import flags_data, flags_model, flags_spark, programs

if TYPE_CHECKING:
    from dccl_tf.cloud_model import CloudModel
    from dccl_tf.run_config import DcclConfig
    from device_runtime import Bundle

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file of the shipped cloud model.")
_BUNDLE = flags.DEFINE_string("bundle", None, "Its bundle.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "What the samples are.")
_STORE = flags.DEFINE_string("store", "sqlite:///vectors.sqlite", "URL of the vector store, or a new .parquet file.")
_SEQUENCE = flags.DEFINE_integer("sequence", 1, "Number of these uploads; each new one must be higher.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-simulate-fleet", argv, _run)


def _run() -> None:
    if not _CHECKPOINT.value or not _BUNDLE.value:
        raise ValueError(f"checkpoint, bundle: expected both, got {_CHECKPOINT.value} and {_BUNDLE.value}")
    from device_runtime import Bundle

    store, vectors = _STORE.value, None
    if store.rstrip("/").endswith(".parquet"):
        vectors = Path(store)
        if vectors.exists():
            raise ValueError(f"store: expected a new .parquet file, got {vectors}, which exists; delete it first")
        vectors.parent.mkdir(parents=True, exist_ok=True)
    from dccl_tf.bundle_models import check_exported_from

    bundle, cloud = Bundle.open(_BUNDLE.value), flags_model.load_checkpoint(_CHECKPOINT.value)
    check_exported_from(bundle, cloud, _CHECKPOINT.value)
    config = flags_model.config_of(flags.FLAGS, _PROTOCOL.value, cloud, _CHECKPOINT.value)
    with tempfile.TemporaryDirectory() as folder:
        written = vectors or Path(folder) / "vectors.parquet"
        train = _with_spark if flags_spark.ENGINE.value == "spark" else _in_process
        train(config, cloud, bundle, written, Path(folder))
        from dccl_tf.fleet_uploads import load_fleet, summary

        found = summary(written)
        print(f"devices {found['devices']:,}, gate open on {found['open_gates']:.1%}")
        print(f"held-out log loss: cloud {found['cloud_loss']:.4f}, personal {found['personal_loss']:.4f}")
        if not vectors:
            from dccl_tf.vectors import VectorStore

            opened = VectorStore.open(store)
            opened.register_bundle(bundle.identity, bundle.manifest.metapatch_length)
            print(f"uploads: {dict(load_fleet(written, opened))}")


def _in_process(config: "DcclConfig", cloud: "CloudModel", bundle: "Bundle", output: Path, _: Path) -> None:
    from dccl_tf import fleet, fleet_uploads, real_devices, run_config

    log, _ = flags_data.load_log(flags.FLAGS)
    cloud.check_made_for(log.catalogue, log.users, _CHECKPOINT.value)
    data = run_config.device_data(log, config, run_config.split_log(log, config), config.rounds - 1)
    devices = fleet.personalize(cloud, data, config.fleet)
    names = [real_devices.device_id(user) for user in range(len(log.users))]
    fleet_uploads.write_fleet(output, fleet_uploads.fleet_batch(bundle.identity, names, devices, _SEQUENCE.value))


def _with_spark(config: "DcclConfig", _: "CloudModel", bundle: "Bundle", output: Path, folder: Path) -> None:
    from dccl_tf.data.sequence_files import write_sequences
    from dccl_tf.spark.fleet import simulate

    values = flags.FLAGS
    path = Path(values.interactions or "")
    if values.dataset != "prepared" or not path.is_dir():
        path = write_sequences(flags_data.load_log(values)[0], folder / "log.parquet")
    with flags_spark.session() as spark:
        simulate(spark, path, _CHECKPOINT.value, bundle.identity, config, output, sequence=_SEQUENCE.value)


def cli() -> None:
    """The console command `dccl-simulate-fleet`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__, flags_spark.__name__)


if __name__ == "__main__":
    cli()

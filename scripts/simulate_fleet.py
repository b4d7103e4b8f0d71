"""Trains every user's device at once, as phones would, and puts the vectors into a store as signed uploads.

  dccl-simulate-fleet --checkpoint=cloud.keras --bundle=bundle --protocol=liked --store=sqlite:///vectors.sqlite

--checkpoint is the model that --bundle was exported from. Devices train on each user's whole past up to validation, or
with --memory=rounds on the second half alone, as in dccl-run.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import numpy as np
from absl import flags

from scripts import flags_data, flags_model, programs

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file of the shipped cloud model.")
_BUNDLE = flags.DEFINE_string("bundle", None, "Its bundle.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "What the samples are.")
_STORE = flags.DEFINE_string("store", "sqlite:///vectors.sqlite", "URL of the vector store.")
_SEQUENCE = flags.DEFINE_integer("sequence", 1, "Number of these uploads; each new one must be higher.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-simulate-fleet", argv, _run)


def _run() -> None:
    if not _CHECKPOINT.value or not _BUNDLE.value:
        raise ValueError(f"checkpoint, bundle: expected both, got {_CHECKPOINT.value} and {_BUNDLE.value}")
    import keras

    from dccl_tf import fleet, real_devices, run_config
    from dccl_tf.vectors import VectorStore
    from device_runtime import Bundle

    config = flags_model.config(flags.FLAGS, _PROTOCOL.value)
    log, _ = flags_data.load_log(flags.FLAGS)
    cloud, bundle = keras.saving.load_model(_CHECKPOINT.value), Bundle.open(_BUNDLE.value)
    data = run_config.device_data(log, config, run_config.split_log(log, config), config.rounds - 1)
    devices = fleet.personalize(cloud, data, config.fleet)
    store = VectorStore.open(_STORE.value)
    store.register_bundle(bundle.identity, cloud.metapatch.length)
    facts = real_devices.deliver(bundle, [], devices, store, sequence=_SEQUENCE.value)
    learned = devices.heldout_samples > 0
    print(f"devices {int((devices.samples > 0).sum())}, gate open on {devices.gates.mean():.1%}")
    print(
        f"held-out log loss: cloud {np.nanmean(devices.cloud_loss[learned]):.4f}, "
        f"personal {np.nanmean(devices.personal_loss[learned]):.4f}"
    )
    print(f"uploads: {facts['receipts']}, {facts['upload_bytes']} bytes each")


def cli() -> None:
    """The console command `dccl-simulate-fleet`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__)


if __name__ == "__main__":
    cli()

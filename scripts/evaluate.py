"""Judges a cloud model, and its devices' personal models, on held-out clicks.

dccl-evaluate --checkpoint=cloud.keras --protocol=liked
dccl-evaluate --checkpoint=cloud.keras --protocol=next --store=sqlite:///vectors.sqlite --bundle=bundle
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

from typing import TYPE_CHECKING

import numpy as np
from absl import flags, logging

from scripts import flags_data, flags_model, flags_vectors, programs

if TYPE_CHECKING:
    from dccl_tf.data.schema import InteractionLog
    from dccl_tf.evaluate import Vectors
    from device_runtime import Bundle

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file of a cloud model.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "How to judge.")
_STORE = flags.DEFINE_string("store", None, "URL of a vector store, or a .parquet: judge the personal models too.")
_BUNDLE = flags.DEFINE_string("bundle", None, "The bundle of this checkpoint, on which the vectors were trained.")
_SPAN = flags.DEFINE_enum("on", "test", ["valid", "test"], "Which held-out interactions.")


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-evaluate", argv, _run)


def _run() -> None:
    if not _CHECKPOINT.value:
        raise ValueError("checkpoint: expected a .keras file, got none")
    if bool(_STORE.value) != bool(_BUNDLE.value):
        raise ValueError(f"store, bundle: expected both or neither, got {_STORE.value} and {_BUNDLE.value}")
    flags_model.refuse_idle(flags.FLAGS, ("seed", "split", "rounds"), "an evaluation")
    from dccl_tf import run_config
    from dccl_tf.bundle_models import check_exported_from
    from dccl_tf.metrics import estimate
    from dccl_tf.report.table import cell
    from device_runtime import Bundle

    cloud = flags_model.load_checkpoint(_CHECKPOINT.value)
    if _BUNDLE.value:
        bundle = Bundle.open(_BUNDLE.value)
        check_exported_from(bundle, cloud, _CHECKPOINT.value, _PROTOCOL.value)
    config = flags_model.config_of(flags.FLAGS, _PROTOCOL.value, cloud, _CHECKPOINT.value)
    log, _ = flags_data.load_log(flags.FLAGS)
    cloud.check_made_for(log.catalogue, log.users, _CHECKPOINT.value)
    judge = run_config.evaluators(log, run_config.split_log(log, config), config)[_SPAN.value == "test"]
    models = {"cloud": None}
    if _STORE.value:
        models["personal"] = _uploaded(bundle, log)
    for name, vectors in models.items():
        print(name)
        for metric, values in judge(cloud, vectors).items():
            if not metric.startswith("neg_"):
                print(f"  {metric:16} {cell(metric, estimate(values))}")


def _uploaded(bundle: "Bundle", log: "InteractionLog") -> "Vectors":
    """Each user's newest vector of a bundle; zeros and a closed gate where there is none."""
    from dccl_tf.evaluate import Vectors
    from dccl_tf.real_devices import owners_of

    found, users = flags_vectors.newest_vectors(_STORE.value, log)(bundle.identity), len(log.users)
    if not len(found):
        whose = " and of users of the log" if flags.FLAGS.device_users else ""
        raise ValueError(f"store: expected vectors of {bundle.path}{whose}, got none")
    length = bundle.manifest.metapatch_length
    if found.vectors.shape[1] != length:
        raise ValueError(
            f"store: expected vectors of {length} floats, as in {bundle.path}, got {found.vectors.shape[1]}"
        )
    owners = owners_of(found.device_ids, users)
    known = owners >= 0
    if not known.any():
        raise ValueError(
            f"store: expected vectors of devices called user-NUMBER, got {len(owners)} of other names; "
            "--device_users says whose they are"
        )
    if ungated := int(np.isnan(found.gates[known]).sum()):
        logging.warning(
            "%s of %s vectors came without a gate, as noisy ones do: their users are judged by the cloud model",
            f"{ungated:,}", f"{int(known.sum()):,}",
        )  # fmt: skip
    theta, gates = np.zeros((users, length), np.float32), np.zeros(users, np.float32)
    theta[owners[known]], gates[owners[known]] = found.vectors[known], np.nan_to_num(found.gates[known])
    return Vectors(theta, gates)


def cli() -> None:
    """The console command `dccl-evaluate`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__, flags_vectors.__name__)


if __name__ == "__main__":
    cli()

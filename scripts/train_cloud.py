"""Trains a cloud model by one stage: all at once beside vectors of all users, or the paper's stages one by one.

  dccl-train-cloud --stage=rehearse --protocol=liked --output=cloud.keras          f, basis and encoder, to be shipped
  dccl-train-cloud --stage=rehearse --span=all --store=sqlite:///vectors.sqlite --bundle=bundle \\
      --checkpoint=cloud.keras --output=next.keras                     the same, taught by the vectors of devices

  dccl-train-cloud --stage=pretrain --protocol=liked --output=pretrained.keras             Eq. 4
  dccl-train-cloud --stage=basis --checkpoint=pretrained.keras --output=cloud.keras        Eq. 7 with theta = 0
  dccl-train-cloud --stage=distill --store=vectors.parquet --bundle=bundle --checkpoint=cloud.keras \\
      --output=next.keras                                                                  Eq. 5, then Eq. 7

`distill` and `rehearse` take each device's newest vector from a store or from what dccl-export-vectors wrote. Each
--bundle stands beside the --checkpoint that it was exported from; give both several times, oldest first, for devices
that are not all on one bundle. `distill` goes on from the last checkpoint, `rehearse` learns anew, as in dccl-run.
Whose vector it is: --device_users names a table of device ids and users; without it devices are called user-NUMBER, as
simulated ones are. docs/trainer.md: several machines, and how far vectors are trusted.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from scripts import flags_data, flags_model, flags_vectors, programs

if TYPE_CHECKING:
    import numpy as np

    from dccl_tf.cloud_model import CloudModel
    from dccl_tf.data.schema import InteractionLog
    from dccl_tf.run_config import DcclConfig
    from dccl_tf.teachers import PersonalModels, Uploads
    from device_runtime import Bundle

_STAGE = flags.DEFINE_enum("stage", "pretrain", ["pretrain", "rehearse", "distill", "basis"], "What to learn.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "What the samples are.")
_SPANS = {"pretrain": "pretrain", "rehearse": "pretrain", "basis": "rounds", "distill": "rounds"}
_SPAN = flags.DEFINE_enum(
    "span",
    None,
    ["pretrain", "rounds", "all"],
    "Samples: by default pretrain; basis, which f must not have learned, and distill: rounds.",
)
_CHECKPOINTS = flags.DEFINE_multi_string(
    "checkpoint", [], "The .keras file to go on from, or whose devices teach; one for each --bundle."
)
_OUTPUT = flags.DEFINE_string("output", None, "The .keras file to write.")
_STORE = flags.DEFINE_string(
    "store", None, "distill, rehearse: URL of the vector store, such as sqlite:///vectors.sqlite, or a .parquet file."
)
_BUNDLES = flags.DEFINE_multi_string(
    "bundle", [], "distill, rehearse: a bundle whose vectors teach; may be given several times."
)
_NORM_CLIP = flags.DEFINE_float(
    "norm_clip", 3.0, "No vector teaches from further than so many median distances from the median; 0: any."
)
_LEAST_GAIN = flags.DEFINE_float(
    "least_gain", None, "Held-out log loss that a vector must have won by to teach, such as -0.02; by default any."
)
_REPLAY = flags.DEFINE_bool("replay", False, "--least_gain by the log's own clicks, not by what devices reported.")
_CONFIDENCE = flags.DEFINE_bool("confidence", False, "Teachers weigh less in samples that their vectors make worse.")
_WORK_DIR = flags.DEFINE_string(
    "work_dir", None, "Checkpoints and TensorBoard logs; a killed run goes on from here. All workers share it."
)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-train-cloud", argv, _run)


def _run() -> None:
    _check_flags()
    from dccl_tf.distribution import is_chief, lost_workers_told, worker_strategy
    from dccl_tf.files import alone_in

    strategy = worker_strategy()
    chief = is_chief(strategy)
    alone = alone_in(Path(_WORK_DIR.value) / _STAGE.value, "work_dir") if _WORK_DIR.value and chief else nullcontext()
    with strategy.scope(), lost_workers_told(strategy), alone:
        print(_train(chief))


def _check_flags() -> None:
    """Before TensorFlow is loaded: what does not fit together."""
    stage, checkpoints, bundles = _STAGE.value, _CHECKPOINTS.value, _BUNDLES.value
    if not _OUTPUT.value or Path(_OUTPUT.value).suffix != ".keras":
        raise ValueError(f"output: expected a file that ends in .keras, got {_OUTPUT.value}")
    if stage == "distill" or (stage == "rehearse" and (_STORE.value or bundles or checkpoints)):
        if not _STORE.value or not bundles or len(bundles) != len(checkpoints):
            raise ValueError(
                f"store, bundle, checkpoint: --stage={stage} with vectors expects a store, and a checkpoint for each "
                f"bundle, got {_STORE.value}, {len(bundles)} bundles and {len(checkpoints)} checkpoints"
            )
    elif stage == "basis" and (len(checkpoints) != 1 or bundles):
        raise ValueError(
            "checkpoint, bundle: --stage=basis expects the .keras file to go on from and no bundle, "
            f"got {len(checkpoints)} checkpoints and {len(bundles)} bundles"
        )
    elif stage == "pretrain" and (len(checkpoints) > 1 or bundles):
        raise ValueError("checkpoint, bundle: --stage=pretrain expects at most one checkpoint and no bundle")
    if flags.FLAGS["learning"].present:
        raise ValueError("learning: --stage says what is learned here; leave --learning to dccl-run")
    if stage in ("pretrain", "basis") and _STORE.value:
        raise ValueError(f"store: --stage={stage} learns from no vectors, expected none, got {_STORE.value}")
    if _REPLAY.value and _LEAST_GAIN.value is None:
        raise ValueError("replay: expected --least_gain beside it, got none")
    Path(_OUTPUT.value).parent.mkdir(parents=True, exist_ok=True)


def _train(chief: bool) -> str:
    """Does the stage; returns what to tell."""
    import keras

    from dccl_tf import run_config, threads
    from dccl_tf.evaluate import validation
    from dccl_tf.files import whole
    from dccl_tf.momodistill import check_lengths, distill_cloud, learn_basis
    from dccl_tf.pretrain import pretrain
    from dccl_tf.rehearsal import Rehearsal, learn_jointly
    from device_runtime import Bundle

    stage, paths = _STAGE.value, _CHECKPOINTS.value
    continued = [] if stage == "rehearse" else paths  # which learns anew
    widths = map(flags_model.checkpoint_width, continued)
    threads.suit(max(widths, default=flags.FLAGS.item_width), flags.FLAGS.batch_positions)
    clouds = [flags_model.load_checkpoint(path) for path in paths]
    log, _ = flags_data.load_log(flags.FLAGS)
    bundles = [Bundle.open(path) for path in _BUNDLES.value]
    sources = _sources(bundles, clouds, log)
    if continued:
        config = flags_model.config_of(flags.FLAGS, _PROTOCOL.value, clouds[-1], paths[-1])
        clouds[-1].check_made_for(log.catalogue, log.users, paths[-1])
    else:
        config = flags_model.config(flags.FLAGS, _PROTOCOL.value)
    split = run_config.split_log(log, config)
    span = run_config.joined(split, _SPAN.value or _SPANS[stage])
    data = run_config.training_data(log, config, span, config.seed)
    judge = run_config.evaluators(log, split, config)[0]
    work = _work_folder(log, config, sources, chief)
    folders = {"checkpoint_dir": work and work / "checkpoint", "log_dir": work and work / "tensorboard"}
    teachers = _teachers(bundles, sources, log, config) if sources else None
    keras.utils.set_random_seed(config.seed)
    if stage == "rehearse":
        student = Rehearsal.untrained(log, config)
        learn_jointly(student, log, config, span, judge, teachers, **folders)
        cloud, validate = student.cloud, partial(student.validation, judge, log.users.profile)
    else:
        cloud = clouds[-1].copy() if clouds else run_config.untrained(log, config)
        validate = partial(validation, judge, cloud)
        basis = {"beta": config.beta, "pull": config.fleet.pull} | folders
        if stage == "pretrain":
            pretrain(cloud, data, config.pretraining, validate=validate, **folders)
        elif stage == "basis":
            learn_basis(cloud, data, None, config.basis, simulate=config.simulate, **basis)
        else:
            check_lengths(teachers, cloud)  # before the work
            distill_cloud(cloud, data, teachers, config.incremental, beta=config.beta, validate=validate, **folders)
            basis["checkpoint_dir"] = work and work / "checkpoint-basis"
            learn_basis(cloud, data, teachers, config.basis, simulate=False, **basis)
    if not chief:
        return "done; the first worker writes the model"
    with whole(Path(_OUTPUT.value)) as file:
        cloud.save(file)
    return f"wrote {_OUTPUT.value}; validation {judge.selection_metric} {validate():.4f}"


def _sources(bundles: "list[Bundle]", clouds: "list[CloudModel]", log: "InteractionLog") -> "list[Uploads]":
    """The newest vectors of each bundle, with the model that it was exported from."""
    from dccl_tf.bundle_models import check_exported_from, items_of
    from dccl_tf.teachers import Uploads

    if not bundles:
        return []
    newest, sources = flags_vectors.newest_vectors(_STORE.value, log), []
    for bundle, cloud, path in zip(bundles, clouds, _CHECKPOINTS.value, strict=True):
        check_exported_from(bundle, cloud, path, _PROTOCOL.value)
        items = items_of(bundle, log)
        if _REPLAY.value and items is not None:
            raise ValueError(f"replay: expected the catalogue of the log in {bundle.path}, got another")
        sources.append(Uploads(cloud, newest(bundle.identity), items))
    return sources


def _teachers(
    bundles: "list[Bundle]", sources: "list[Uploads]", log: "InteractionLog", config: "DcclConfig"
) -> "PersonalModels":
    """The personal models of all bundles."""
    from dccl_tf.teachers import personal_models
    from dccl_tf.trust import Trust

    trust = Trust(_NORM_CLIP.value, _LEAST_GAIN.value, _CONFIDENCE.value)
    if _REPLAY.value:
        sources = [_replayed(one, bundle, log, config) for one, bundle in zip(sources, bundles, strict=True)]
    return personal_models(sources, len(log.users), trust)


def _replayed(source: "Uploads", bundle: "Bundle", log: "InteractionLog", config: "DcclConfig") -> "Uploads":
    """The same with losses on what devices of the bundle hold out, as its manifest says."""
    from dccl_tf.run_config import device_data, split_log
    from dccl_tf.trust import replayed

    config = config.with_devices_of(bundle.manifest)
    samples = device_data(log, config, split_log(log, config), config.rounds - 1)
    return replace(source, uploaded=replayed(source.uploaded, source.cloud, samples, config.fleet))


def _work_folder(log: "InteractionLog", config: "DcclConfig", sources: "list[Uploads]", chief: bool) -> Path | None:
    """Of this stage, which no run with other settings, models or vectors continues; None: nothing is kept."""
    from dccl_tf.data.storage import log_identity
    from dccl_tf.stages import Stages

    if not _WORK_DIR.value:
        return None
    folder = Path(_WORK_DIR.value) / _STAGE.value
    if chief:
        settings = {flag.name: flag.value for flag in (_SPAN, _NORM_CLIP, _LEAST_GAIN, _REPLAY, _CONFIDENCE)}
        settings["data"] = log_identity(log)
        settings["checkpoint"] = [_digest(Path(path).read_bytes()) for path in _CHECKPOINTS.value]
        settings["store"] = [
            _digest(json.dumps(one.uploaded.device_ids).encode(), one.uploaded.sequences, one.uploaded.vectors)
            for one in sources
        ]
        Stages(folder, asdict(config) | settings, argument="work_dir")
    return folder


def _digest(*parts: "bytes | np.ndarray") -> str:
    """A few digits of the SHA-256 of bytes and arrays."""
    return hashlib.sha256(b"".join(bytes(part) for part in parts)).hexdigest()[:16]


def cli() -> None:
    """The console command `dccl-train-cloud`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__, flags_vectors.__name__)


if __name__ == "__main__":
    cli()

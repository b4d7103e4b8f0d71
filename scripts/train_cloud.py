"""Trains a cloud model by one stage: all at once beside vectors of all users, or the paper's stages one by one.

  dccl-train-cloud --stage=rehearse --protocol=liked --output=cloud.keras          f, basis and encoder, to be shipped
  dccl-train-cloud --stage=rehearse --span=all --checkpoint=cloud.keras --store=sqlite:///vectors.sqlite \\
      --bundle=bundle --output=next.keras                     the same, taught by devices' vectors (from --checkpoint)

  dccl-train-cloud --stage=pretrain --protocol=liked --output=pretrained.keras             Eq. 4
  dccl-train-cloud --stage=basis --checkpoint=pretrained.keras --output=cloud.keras        Eq. 7 with theta = 0
  dccl-train-cloud --stage=distill --checkpoint=cloud.keras --store=sqlite:///vectors.sqlite \\
      --bundle=bundle --output=next.keras                                                  Eq. 5, then Eq. 7

`distill` and `rehearse` take the newest vector of each device that was trained on --bundle; --checkpoint must be the
model that the bundle was exported from. `distill` goes on from it, `rehearse` learns anew, as in dccl-run. Device ids
name users as user-NUMBER, the number of the user in the log.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

from functools import partial
from pathlib import Path

from absl import flags

from scripts import flags_data, flags_model, programs

_STAGE = flags.DEFINE_enum("stage", "pretrain", ["pretrain", "rehearse", "distill", "basis"], "What to learn.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "What the samples are.")
_SPAN = flags.DEFINE_enum("span", None, ["pretrain", "rounds", "all"], "Samples: by default pretrain; distill: rounds.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file to go on from, or whose devices teach.")
_OUTPUT = flags.DEFINE_string("output", None, "The .keras file to write.")
_STORE = flags.DEFINE_string(
    "store", None, "distill, rehearse: URL of the vector store, such as sqlite:///vectors.sqlite."
)
_BUNDLE = flags.DEFINE_string("bundle", None, "distill, rehearse: the bundle that the vectors were trained on.")
_WORK_DIR = flags.DEFINE_string("work_dir", None, "Checkpoints and TensorBoard logs; a killed run goes on from here.")


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-train-cloud", argv, _run)


def _run() -> None:
    if not _OUTPUT.value or Path(_OUTPUT.value).suffix != ".keras":
        raise ValueError(f"output: expected a file that ends in .keras, got {_OUTPUT.value}")
    taught = _STAGE.value == "rehearse" and bool(_STORE.value or _BUNDLE.value or _CHECKPOINT.value)
    if (taught or _STAGE.value in ("distill", "basis")) and not _CHECKPOINT.value:
        raise ValueError(f"checkpoint: --stage={_STAGE.value} expects the .keras file of the bundle's model, got none")
    import keras

    from dccl_tf import run_config
    from dccl_tf.evaluate import validation
    from dccl_tf.momodistill import distill_cloud, learn_basis
    from dccl_tf.pretrain import pretrain
    from dccl_tf.rehearsal import Rehearsal, learn_jointly

    values = flags.FLAGS
    config = flags_model.config(values, _PROTOCOL.value)
    log, _ = flags_data.load_log(values)
    split = run_config.split_log(log, config)
    span = run_config.joined(split, _SPAN.value or ("rounds" if _STAGE.value == "distill" else "pretrain"))
    data = run_config.training_data(log, config, span, config.seed)
    keras.utils.set_random_seed(config.seed)
    cloud = keras.saving.load_model(_CHECKPOINT.value) if _CHECKPOINT.value else run_config.untrained(log, config)
    judge = run_config.evaluators(log, split, config)[0]
    work = Path(_WORK_DIR.value) if _WORK_DIR.value else None
    folders = {"checkpoint_dir": work and work / f"checkpoint-{_STAGE.value}", "log_dir": work and work / "tensorboard"}
    validate = partial(validation, judge, cloud)
    basis = {"beta": config.beta, "pull": config.fleet.pull} | folders
    if _STAGE.value == "rehearse":
        teachers = _teachers(cloud, len(log.users)) if taught else None
        student = Rehearsal.untrained(log, config)
        learn_jointly(student, log, config, span, judge, teachers, **folders)
        cloud, validate = student.cloud, partial(student.validation, judge, log.users.profile)
    elif _STAGE.value == "pretrain":
        pretrain(cloud, data, config.pretraining, validate=validate, **folders)
    elif _STAGE.value == "basis":
        learn_basis(cloud, data, None, config.basis, simulate=config.simulate, **basis)
    else:
        teachers = _teachers(cloud.copy(), len(log.users))
        distill_cloud(cloud, data, teachers, config.incremental, beta=config.beta, validate=validate, **folders)
        basis["checkpoint_dir"] = work and work / "checkpoint-basis"
        learn_basis(cloud, data, teachers, config.basis, simulate=False, **basis)
    cloud.save(_OUTPUT.value)
    print(f"wrote {_OUTPUT.value}; validation {judge.selection_metric} {validate():.4f}")


def _teachers(cloud, users: int):  # noqa: ANN001, ANN202 (types of modules that import TensorFlow)
    """The personal models of --bundle from the vectors in --store."""
    from dccl_tf.rounds import teachers_of
    from dccl_tf.vectors import VectorStore
    from device_runtime import Bundle

    if not _STORE.value or not _BUNDLE.value:
        raise ValueError(
            f"store, bundle: --stage={_STAGE.value} expects both, got {_STORE.value} and {_BUNDLE.value}; "
            "they say whose vectors to learn from"
        )
    return teachers_of(VectorStore.open(_STORE.value), Bundle.open(_BUNDLE.value).identity, cloud, users)


def cli() -> None:
    """The console command `dccl-train-cloud`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__)


if __name__ == "__main__":
    cli()

"""What a cell's job trains, and which models of it are judged. What DCCL means in the tables is decided here.

Jobs: a baseline's name ("mf", ..., "din"); "dccl", one run of Algorithm 1 with the models of `Outcome.models`;
"rounds", a run with several rounds, whose models are judged after each; and the `DEVICE_JOBS`, one cloud model and
devices that train on it in many ways (`device_arms`).
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from dccl_tf import baselines, findings, rounds, run_config
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import InteractionLog
from dccl_tf.evaluate import Evaluator, LikedEvaluator, Scorer, UserValues, Vectors
from dccl_tf.metrics import expected_calibration_error
from dccl_tf.progress import progress
from dccl_tf.run_config import DcclConfig
from dccl_tf.study.cells import Cell, Judged
from dccl_tf.study.device_arms import run_devices
from dccl_tf.study.plans import NAMES
from dccl_tf.study.settings import baseline_recipe, dccl_config
from dccl_tf.study.sweeps import DEVICE_JOBS, device_arms

Model = tuple[Scorer, Vectors | None]


def settings_of(cell: Cell, quick: bool = False) -> dict[str, Any]:
    """All that a cell's result depends on beside the log."""
    if cell.job in NAMES:
        return asdict(baseline_recipe(cell, quick)) | {"seed": cell.seed}
    settings = asdict(dccl_config(cell.protocol, cell.seed, cell.changes, quick))
    if cell.job in DEVICE_JOBS:
        settings["arms"] = {name: asdict(arm) for name, arm in device_arms(cell.job).items()}
    return settings


def run_cell(
    cell: Cell, log: InteractionLog, folder: Path, identity: str, quick: bool = False, shared: Path | None = None
) -> Judged:
    """Does a cell's job; a job that was killed goes on from `folder`.

    Args:
      cell: the job.
      log: all interactions.
      folder: for checkpoints and stages; the caller deletes it when the result is safe.
      identity: of the log.
      quick: with the short settings.
      shared: a folder for what cells of "dccl" have in common.
    """
    keras.utils.clear_session()  # the graphs of another cell are of no use to this one
    if cell.job in NAMES:
        return _run_baseline(cell, log, folder, quick)
    config = dccl_config(cell.protocol, cell.seed, cell.changes, quick)
    if cell.job in DEVICE_JOBS:
        return judged(*run_devices(log, config, device_arms(cell.job), folder, identity))
    if cell.job == "rounds":
        return run_rounds(log, config, folder, identity)
    pictured = config == dccl_config(cell.protocol, cell.seed, quick=quick)
    return run_dccl(log, config, folder, identity, pictured, shared)


def run_dccl(
    log: InteractionLog,
    config: DcclConfig,
    folder: Path,
    identity: str,
    pictured: bool = False,
    shared: Path | None = None,
) -> Judged:
    """One run of Algorithm 1.

    Args:
      log: all interactions.
      config: of the run.
      folder: of its stages.
      identity: of the log.
      pictured: whether the facts hold Fig. 6's user ("case") and Fig. 7's map ("map").
      shared: a folder for what runs with other settings have in common.
    """
    outcome = rounds.run(log, config, folder, identity, shared)
    facts: dict[str, Any] = {"bundle_bytes": outcome.bundles[-1].size, "stage_seconds": outcome.seconds}
    facts["open_gates"] = {
        name: float(vectors.gates.mean()) for name, (_, vectors) in outcome.models().items() if vectors is not None
    }
    facts["validation"] = findings.validations(outcome)
    if pictured:
        case, found = findings.long_tail_case(log, outcome), findings.vector_map(log, config, outcome)
        facts |= {"case": case and asdict(case), "map": found and asdict(found)}
    return judged(outcome.evaluator, outcome.models(), facts)


def run_rounds(log: InteractionLog, config: DcclConfig, folder: Path, identity: str) -> Judged:
    """A run with several rounds: after each, the fair baseline, the distilled model and its devices, named
    "round 1: DCCL-m" and so on."""
    outcome = rounds.run(log, config, folder, identity)
    return judged(outcome.evaluator, dict(models_by_round(folder, config.rounds)), {"stage_seconds": outcome.seconds})


def models_by_round(folder: Path, count: int) -> Iterable[tuple[str, Model]]:
    """The models of each round, from the stages that `rounds.run` leaves."""

    def cloud(stage: str) -> CloudModel:
        return keras.saving.load_model(folder / stage / "cloud.keras")

    for number in range(count):
        distilled = cloud(f"distill{number}")
        with np.load(folder / f"adapted{number}.npz") as adapted:
            vectors = Vectors(adapted["vectors"], adapted["gates"])
        yield f"round {number + 1}: {rounds.FAIR}", (cloud(f"same_data{number}"), None)
        yield f"round {number + 1}: {rounds.CLOUD}", (distilled, None)
        yield f"round {number + 1}: {rounds.DEVICES}", (distilled, vectors)


def _run_baseline(cell: Cell, log: InteractionLog, folder: Path, quick: bool) -> Judged:
    recipe = baseline_recipe(cell, quick)
    split = run_config.split_log(log, dccl_config(cell.protocol, cell.seed, quick=quick))
    valid, test = baselines.evaluators(recipe, log, split, cell.seed)
    model, history = baselines.learn(recipe, log, split, cell.seed, valid, checkpoint_dir=folder / "checkpoints")
    facts = {"epochs": len(history.loss), "best_epoch": history.best_epoch + 1, "validation": history.validation}
    return judged(test, {NAMES[cell.job]: (model, None)}, facts)


def judged(evaluator: Evaluator, models: dict[str, Model], facts: dict[str, Any]) -> Judged:
    """Every model's values user by user, and under `liked` what can be said of all users together alone."""
    values: dict[str, UserValues] = {}
    totals: dict[str, dict[str, float]] = {}
    for name, (model, vectors) in progress(models.items(), "evaluate", unit="model"):
        found = evaluator(model, vectors)
        values[name] = {metric: one for metric, one in found.items() if not metric.startswith("neg_")}
        if isinstance(evaluator, LikedEvaluator):
            _, labels, logits = evaluator.logits(model, vectors)
            totals[name] = {"calibration_error/liked": expected_calibration_error(labels, logits)}
        logging.info("%s: %s", name, ", ".join(f"{m} {np.nanmean(v):.4f}" for m, v in values[name].items()))
    return Judged(values, totals, facts)

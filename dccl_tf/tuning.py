"""Equal effort for every model: a random search (Bergstra and Bengio, 2012), judged on validation alone.

trials = search("sasrec", log, split, "next", trials=12, seed=0, path=Path("sasrec.jsonl"))
recipe = changed(recipe_for("sasrec", "next"), **best(trials).settings)

trials = search_dccl(log, config, trials=12, path=Path("dccl.jsonl"))
config = configured(config, best(trials).settings)

Trial 0 is the defaults. Trials 1 to 11 draw the same settings for every baseline, so none is luckier than another; from
trial 12 on each draws near the best of its first twelve. DCCL, whose f is a DIN, has a space of its own around DIN's
best. Each finished trial is a line of a file, so that a killed search goes on where it stopped.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dccl_tf import fleet, run_config
from dccl_tf.baselines import changed, evaluators, learn, recipe_for, setting_of
from dccl_tf.data.schema import InteractionLog, Split
from dccl_tf.data.storage import log_identity
from dccl_tf.evaluate import Vectors, validation
from dccl_tf.files import write_text
from dccl_tf.progress import progress
from dccl_tf.rehearsal import Rehearsal, learn_jointly
from dccl_tf.run_config import DcclConfig
from dccl_tf.training_data import candidates_of

Space = Mapping[str, Sequence[Any]]

COARSE = 12  # trials of a baseline anywhere in the space; those after are near the best of these

SPACE: Space = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2),
    "weight_decay": (0.0, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1),  # AdamW's: each step takes rate * decay off every weight
    "width": (16, 32, 64, 128),  # of vectors
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.5),
}

DCCL_SPACE: Space = {
    "learning_rate": (2e-3, 3e-3, 5e-3),  # of joint learning
    "weight_decay": (0.1, 0.3, 1.0),
    "dropout": (0.1, 0.2, 0.3),
    "shared": (0.1, 0.3, 1.0),  # weight of f's own loss
    # precision of the vectors' prior, in the cloud, and on devices for each row that a click is told from
    "pull": (80.0, 160.0, 320.0, 640.0, 1280.0),
}


@dataclass(frozen=True)
class Trial:
    """What one setting reached."""

    number: int
    settings: dict[str, Any]  # values of the space; empty for the defaults
    validation: float | None  # of its best epoch, higher is better; None where training diverged
    epoch: int  # the best one, from 0; -1 where training diverged
    seconds: float


def draw(number: int, seed: int, space: Space = SPACE) -> dict[str, Any]:
    """The settings of a trial: each value of each axis of the space equally likely."""
    if number == 0:
        return {}
    random = np.random.default_rng([seed, number])
    return {name: values[random.integers(len(values))] for name, values in space.items()}


def draw_near(best: Mapping[str, Any], number: int, seed: int) -> dict[str, Any]:
    """The settings of a later trial: each of the best ones or its neighbour on an axis of SPACE, equally likely."""
    random = np.random.default_rng([seed, number])
    settings = {}
    for name, values in SPACE.items():
        place = int(np.argmin(np.abs(np.array(values) - best[name])))
        near = values[max(place - 1, 0) : place + 2]
        settings[name] = near[random.integers(len(near))]
    return settings


def search(
    model: str,
    log: InteractionLog,
    split: Split,
    protocol: str,
    trials: int,
    seed: int,
    path: Path,
    **changes: Any,
) -> list[Trial]:
    """Tries settings of a baseline until `trials` are done, those on file included.

    Args:
      model: a key of `baselines.MODELS`.
      log: all interactions.
      split: of the log; its test span is not looked at.
      protocol: "next" or "liked".
      trials: how many in all, at least 1. A later search with more goes on after the earlier ones.
      seed: of the draws, and of training in every trial.
      path: of the file of trials.
      **changes: of the defaults in every trial, as `baselines.recipe_for` takes them, such as epochs.

    Raises:
      ValueError: the file holds another search.
    """
    recipe = recipe_for(model, protocol, **changes)
    what = {"recipe": asdict(recipe), "seed": seed, "log": log_identity(log), "space": SPACE, "coarse": COARSE}
    what["split"] = split.identity
    file = _TrialFile(path, what)
    judge = evaluators(recipe, log, split, seed)[0]

    def drawn(number: int, done: Sequence[Trial]) -> dict[str, Any]:
        if number < COARSE:
            return draw(number, seed)
        settings = best([trial for trial in done if trial.number < COARSE]).settings
        return draw_near(settings or {name: setting_of(recipe, name) for name in SPACE}, number, seed)

    def reached(settings: dict[str, Any], name: str) -> tuple[float, int]:
        history = learn(changed(recipe, **settings), log, split, seed, valid=judge, name=name)[1]
        return max(history.validation), history.best_epoch

    return _search(model, file, trials, drawn, reached)


def search_dccl(log: InteractionLog, config: DcclConfig, trials: int, path: Path) -> list[Trial]:
    """As `search`, for DCCL by joint learning: each trial learns everything before validation, and is judged there with
    the vectors that its devices find. There is no round in a trial, hence no teacher.

    Args:
      log: all interactions.
      config: of the run; its seed is that of the draws too.
      trials: how many in all, at least 1.
      path: of the file of trials.

    Raises:
      ValueError: the file holds another search, or the configuration learns progressively.
    """
    if config.learning != "joint":
        raise ValueError(f"learning: expected 'joint', which the search is for, got {config.learning!r}")
    file = _TrialFile(path, {"config": asdict(config), "log": log_identity(log), "space": DCCL_SPACE})
    split = run_config.split_log(log, config)
    judge = run_config.evaluators(log, split, config)[0]
    everything = run_config.joined(split, "all")

    def reached(settings: dict[str, Any], name: str) -> tuple[float, int]:
        chosen = configured(config, settings)
        student = Rehearsal.untrained(log, chosen)
        history = learn_jointly(student, log, chosen, everything, judge, name=name)
        seen = run_config.device_data(log, chosen, split, len(split.rounds) - 1)
        devices = fleet.personalize(student.cloud, seen, chosen.fleet)
        return validation(judge, student.cloud, Vectors(devices.vectors, devices.gates)), history.best_epoch

    return _search("dccl", file, trials, lambda number, done: draw(number, config.seed, DCCL_SPACE), reached)


def configured(config: DcclConfig, settings: Mapping[str, Any]) -> DcclConfig:
    """A configuration with the settings of a trial of DCCL, which may be none."""
    if not settings:
        return config
    training = {name: settings[name] for name in ("learning_rate", "weight_decay")}
    return replace(
        config,
        pretraining=replace(config.pretraining, **training),
        closing=None,  # follows from pretraining
        dropout=settings["dropout"],
        shared=settings["shared"],
        offset_pull=settings["pull"],
        fleet=replace(config.fleet, pull=settings["pull"] * candidates_of(config.protocol, config.negatives)),
    )


def best(trials: Sequence[Trial]) -> Trial:
    """The trial that validated best (the earlier of two that tie), to be trained with any seed.

    Raises:
      ValueError: no trial ended with a finite loss.
    """
    finished = [trial for trial in trials if trial.validation is not None]
    if not finished:
        raise ValueError(
            f"trials: expected one that did not diverge, got none of {len(trials)}; try more, or a lower rate"
        )
    return max(finished, key=lambda trial: (trial.validation, -trial.number))


def _search(
    model: str,
    file: "_TrialFile",
    trials: int,
    drawn: Callable[[int, Sequence[Trial]], dict[str, Any]],
    reached: Callable[[dict[str, Any], str], tuple[float, int]],
) -> list[Trial]:
    """What `reached` (validation and best epoch, by settings and a name for the bar) gives for the trials that are not
    on file, whose settings `drawn` gives by number and the trials before, and those that are."""
    if trials < 1:
        raise ValueError(f"trials: expected at least 1, got {trials}")
    done = file.trials()
    numbers = [number for number in range(trials) if number not in {trial.number for trial in done}]
    for number in progress(numbers, f"tuning {model}", unit="trial"):
        settings = drawn(number, done)
        began = time.perf_counter()
        try:
            value, epoch = reached(settings, f"trial {number}")
        except FloatingPointError:
            value, epoch = None, -1
        trial = Trial(number, settings, value, epoch, round(time.perf_counter() - began, 1))
        file.add(trial)
        done.append(trial)
        keras.utils.clear_session()  # the graphs of a trial are of no use to the next
    return sorted((trial for trial in done if trial.number < trials), key=lambda trial: trial.number)


class _TrialFile:
    """JSON lines: first what the search is, then a trial a line. A line that a kill cut short does not count."""

    def __init__(self, path: Path, search_of: dict[str, Any]) -> None:
        self.path = Path(path)
        wanted = json.loads(json.dumps(search_of))
        lines = self._lines()
        if not lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(wanted) + "\n")
        elif lines[0] != wanted:
            other = [key for key in wanted if lines[0].get(key) != wanted[key]]
            raise ValueError(
                f"path: {self.path} holds the trials of a search with another {', '.join(other)}; "
                "name another file, or delete this one to start anew"
            )

    def trials(self) -> list[Trial]:
        return [Trial(**line) for line in self._lines()[1:]]

    def add(self, trial: Trial) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[dict[str, Any]]:
        """The whole lines; a last one that is not whole is cut off, so that the next begins a line of its own."""
        if not self.path.exists():
            return []
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            write_text(self.path, whole)
        return [json.loads(line) for line in whole.splitlines()]

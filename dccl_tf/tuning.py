"""Equal effort for every model: a random search (Bergstra and Bengio, 2012) over one space, judged on validation alone.

trials = search("sasrec", log, split, "next", trials=12, seed=0, path=Path("sasrec.jsonl"))
recipe = best(trials, "sasrec", "next")

Trial 0 is the model's defaults. Trial n > 0 draws the same settings for every model, so none is luckier than another.
Each finished trial is a line of a file, so that a killed search goes on where it stopped.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dccl_tf.baselines import Recipe, changed, evaluators, learn, recipe_for
from dccl_tf.data.schema import InteractionLog, Split
from dccl_tf.data.storage import log_identity
from dccl_tf.progress import progress

SPACE: dict[str, Sequence[Any]] = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2),
    "weight_decay": (0.0, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1),  # AdamW's: each step takes rate * decay off every weight
    "width": (16, 32, 64, 128),  # of vectors
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.5),
}


@dataclass(frozen=True)
class Trial:
    """What one setting reached."""

    number: int
    settings: dict[str, Any]  # values of SPACE; empty for the defaults
    validation: float | None  # of its best epoch, higher is better; None where training diverged
    epoch: int  # the best one, from 0; -1 where training diverged
    seconds: float


def draw(number: int, seed: int) -> dict[str, Any]:
    """The settings of a trial: each value of each axis of SPACE equally likely."""
    if number == 0:
        return {}
    random = np.random.default_rng([seed, number])
    return {name: values[random.integers(len(values))] for name, values in SPACE.items()}


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
    """Tries settings until `trials` are done, those on file included.

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
    if trials < 1:
        raise ValueError(f"trials: expected at least 1, got {trials}")
    recipe = recipe_for(model, protocol, **changes)
    file = _TrialFile(path, {"recipe": asdict(recipe), "seed": seed, "log": log_identity(log)})
    done = file.trials()
    judge = evaluators(recipe, log, split, seed)[0]
    numbers = [number for number in range(trials) if number not in {trial.number for trial in done}]
    for number in progress(numbers, f"tuning {model}", unit="trial"):
        settings = draw(number, seed)
        began = time.perf_counter()
        try:
            history = learn(changed(recipe, **settings), log, split, seed, valid=judge, name=f"trial {number}")[1]
            validation, epoch = max(history.validation), history.best_epoch
        except FloatingPointError:
            validation, epoch = None, -1
        trial = Trial(number, settings, validation, epoch, round(time.perf_counter() - began, 1))
        file.add(trial)
        done.append(trial)
        keras.utils.clear_session()  # the graphs of a trial are of no use to the next
    return sorted((trial for trial in done if trial.number < trials), key=lambda trial: trial.number)


def best(trials: list[Trial], model: str, protocol: str, **changes: Any) -> Recipe:
    """The recipe of the trial that validated best (the earlier of two that tie), to be trained with any seed.

    Raises:
      ValueError: no trial ended with a finite loss.
    """
    finished = [trial for trial in trials if trial.validation is not None]
    if not finished:
        raise ValueError(
            f"trials: expected one that did not diverge, got none of {len(trials)}; try more, or a lower rate"
        )
    winner = max(finished, key=lambda trial: (trial.validation, -trial.number))
    return changed(recipe_for(model, protocol, **changes), **winner.settings)


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
            self.path.write_text(whole)
        return [json.loads(line) for line in whole.splitlines()]

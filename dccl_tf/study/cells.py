"""The unit of a study: one job on one data set, protocol and seed, and the folder where its result lies when done.

A cell's name ends with a hash of its settings, so a result is found again by whatever table needs it, a change of a
default makes a new cell instead of a mixture of old and new, and a killed study goes on where it was.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dccl_tf.evaluate import UserValues
from dccl_tf.files import whole, write_text
from dccl_tf.report import jsonable

Changes = tuple[tuple[str, Any], ...]  # dotted name of a setting, and its value


@dataclass(frozen=True)
class Cell:
    """What is to be trained and judged."""

    dataset: str
    protocol: str  # "next" or "liked"
    seed: int
    job: str  # see `arms`
    changes: Changes = ()  # from the job's default settings

    def __str__(self) -> str:
        changes = "".join(f" {name}={value}" for name, value in self.changes)
        return f"{self.dataset} {self.protocol} {self.job}{changes} seed {self.seed}"


@dataclass(frozen=True)
class Judged:
    """What a job found."""

    values: dict[str, UserValues]  # model to metric to [U], NaN for users that do not count
    totals: dict[str, dict[str, float]] = field(default_factory=dict)  # model to metric of all users at once
    facts: dict[str, Any] = field(default_factory=dict)  # whatever else a page shows, as JSON has it


class CellFolder:
    """Results of cells under one folder: a small JSON file and an .npz of float32 arrays each."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, cell: Cell, settings: dict[str, Any]) -> Path:
        """The JSON file of a cell with these settings."""
        text = json.dumps(jsonable(settings), sort_keys=True)
        name = f"seed{cell.seed}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"
        return self.folder / "cells" / cell.dataset / cell.protocol / cell.job / name

    def is_done(self, cell: Cell, settings: dict[str, Any]) -> bool:
        return self.path(cell, settings).exists()

    def save(self, cell: Cell, settings: dict[str, Any], judged: Judged, **about: Any) -> None:
        """Writes the arrays, then the JSON, by which the cell counts as done. `about` goes into the JSON."""
        path = self.path(cell, settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{model}|{metric}": np.asarray(one, np.float32)
            for model, values in judged.values.items()
            for metric, one in values.items()
        }
        with whole(path.with_suffix(".npz")) as temporary:
            np.savez_compressed(temporary, **arrays)
        told = {"cell": str(cell), "settings": settings, "totals": judged.totals, "facts": judged.facts} | about
        write_text(path, json.dumps(jsonable(told), indent=1))

    def told(self, cell: Cell, settings: dict[str, Any]) -> dict[str, Any]:
        """All that a finished cell's JSON tells."""
        return json.loads(self.path(cell, settings).read_text())

    def load(self, cell: Cell, settings: dict[str, Any]) -> Judged:
        """A finished cell's result."""
        told = self.told(cell, settings)
        values: dict[str, UserValues] = {}
        with np.load(self.path(cell, settings).with_suffix(".npz")) as archive:
            for name in archive.files:
                model, metric = name.split("|")
                values.setdefault(model, {})[metric] = archive[name]
        return Judged(values, told["totals"], told["facts"])

"""Runs a study's cells, the finished ones aside, and writes what they found: results, page and drawings."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from absl import logging

from dccl_tf.data.schema import InteractionLog
from dccl_tf.files import write_text
from dccl_tf.progress import progress
from dccl_tf.report import jsonable
from dccl_tf.report.drawing import standalone
from dccl_tf.study.cells import Cell, CellFolder, Judged
from dccl_tf.study.collect import Collector, Table
from dccl_tf.study.figures import FigurePlan
from dccl_tf.study.markdown import PROTOCOLS, table_section
from dccl_tf.study.page import write_section
from dccl_tf.study.plans import Plan, Row
from device_runtime.state.file_lock import FileLock, HeldError

_ABOUT_A_CELL = ("cell", "seconds", "date", "computed_on")
Settings = Callable[[Cell], dict[str, Any]]
Job = Callable[[Cell, Path], Judged]  # the cell, and a folder for what it needs while it runs


@dataclass(frozen=True)
class Study:
    """One data set under some protocols and seeds, with finished cells in `folder` and pages in `output`."""

    dataset: str
    protocols: tuple[str, ...]
    seeds: tuple[int, ...]
    folder: Path  # work: finished cells, and the stages of those that run
    output: Path  # gets results/, docs/results.md and docs/figures/
    settings: Settings  # all that a cell's result depends on, beside the log
    identity: str  # of the log

    def cells(self, plans: Iterable[Plan | FigurePlan]) -> list[Cell]:
        """The cells that these plans need, each result once, seed by seed."""
        cells = [cell for plan in plans for cell in plan.cells(self.dataset, self.protocols, self.seeds)]
        cells.sort(key=lambda cell: self.seeds.index(cell.seed))
        found: dict[Path, Cell] = {}
        for cell in cells:
            found.setdefault(self._path(cell), cell)
        return list(found.values())

    def is_done(self, cell: Cell) -> bool:
        return self._folder.is_done(cell, self._settings(cell))

    def run(self, cells: Sequence[Cell], job: Job) -> list[str]:
        """Does every cell that is not done; one that fails is told and left out, one that another process does is left
        to that.

        Returns:
          What failed, a line a cell.
        """
        failed = []
        left = [cell for cell in cells if not self.is_done(cell)]
        logging.info("%d of %d cells are done, %d to do", len(cells) - len(left), len(cells), len(left))
        for cell in progress(left, f"study {self.dataset}", unit="cell", even=False):
            logging.info("Cell: %s", cell)
            began = time.perf_counter()
            work = self.folder / "running" / self._path(cell).relative_to(self._folder.folder).with_suffix("")
            work.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock = FileLock(work.with_suffix(".lock"))
            except HeldError:
                logging.warning("Another process does this cell: %s", cell)
                continue
            try:
                if self.is_done(cell):  # by another process, since this one looked
                    continue
                work.mkdir(exist_ok=True)
                judged = job(cell, work)
                seconds = round(time.perf_counter() - began, 1)
                about = {"seconds": seconds, "date": date.today().isoformat()}
                about["computed_on"] = f"{os.cpu_count()} CPU cores"
                self._folder.save(cell, self._settings(cell), judged, **about)
                shutil.rmtree(work)
            except Exception as error:  # one job's failure must not cost the hours of the others
                logging.exception("The cell failed: %s", cell)
                failed.append(f"{cell}: {' '.join(str(error).split())[:300]}")
                continue
            finally:
                lock.close()
        return failed

    def write(self, plans: Iterable[Plan | FigurePlan], log: InteractionLog, about: dict[str, Any]) -> list[Path]:
        """Writes results and sections of the page from the cells that are done, under whatever protocol.

        Args:
          plans: tables and figures.
          log: the data set.
          about: what every file of results tells beside the figures: command, versions.

        Returns:
          The files of results; a plan of which nothing is done writes none, nor does one whose file holds what this
          study does not have: other data, seeds or cells.
        """
        collectors = [Collector(self.dataset, name, self.seeds, self.load) for name in PROTOCOLS]
        written = []
        for plan in plans:
            name = f"{plan.name}-{self.dataset}"
            path = self.output / "results" / f"{name}.json"
            done = [cell for cell in plan.cells(self.dataset, PROTOCOLS, self.seeds) if self.is_done(cell)]
            if not done:
                continue
            if reason := self._kept_as_it_is(path, done):
                logging.warning("%s is left as it is: %s, or delete it", path, reason)
                continue
            if isinstance(plan, Plan):
                body, data = self._tables(plan, collectors)
            else:
                body, data = self._figure(plan, collectors, log)
            if not data:  # such as a default without a variation beside it
                continue
            today = date.today().isoformat()
            found = {"title": plan.title, "dataset": self.dataset, "data": self.identity}
            found |= {"source": log.source, "date": today}
            path.parent.mkdir(parents=True, exist_ok=True)
            found |= self._made_of(done) | {"protocols": data} | about
            write_text(path, json.dumps(jsonable(found), indent=1, ensure_ascii=False) + "\n")
            body += f"\n\n<sub>{today}; every figure: [results/{name}.json](../results/{name}.json)</sub>"
            page, title = self.output / "docs" / "results.md", f"{plan.title}, {self.dataset}"
            write_section(page, f"{plan.name} {self.dataset}", title, body, order=_order)
            written.append(path)
        return written

    def _kept_as_it_is(self, path: Path, done: list[Cell]) -> str:
        """What an older file of results holds that a new one would not, and what to do; empty if nothing."""
        if not path.exists():
            return ""
        before = json.loads(path.read_text())
        if before.get("data", self.identity) != self.identity:
            return "it is of other data; write elsewhere, with --output_dir"
        here = {self._file(cell) for cell in done}
        more = [one["cell"] for one in before["cells"] if one["file"] not in here]
        if not more:
            return ""
        return f"it holds {len(more)} cells that are not done here, such as {more[0]!r}; name and do them, too"

    def _made_of(self, done: list[Cell]) -> dict[str, Any]:
        told = {cell: self._folder.told(cell, self._settings(cell)) for cell in done}
        return {
            "cells": [
                {"file": self._file(cell)} | {key: one[key] for key in _ABOUT_A_CELL if key in one}
                for cell, one in told.items()
            ],
            # Of one cell of each kind: the others differ by the seed and by what their names say.
            "settings": {f"{cell.protocol} {cell.job}": one["settings"] for cell, one in reversed(told.items())},
        }

    def load(self, cell: Cell) -> Judged | None:
        """A cell's result; None if it is not done."""
        settings = self._settings(cell)
        if not self._folder.is_done(cell, settings):
            return None
        return self._folder.load(cell, settings)

    def _tables(self, plan: Plan, collectors: list[Collector]) -> tuple[str, dict[str, Any]]:
        tables = [table for one in collectors if self._compares(plan, table := one.table(plan))]
        return table_section(plan, self.dataset, tables), {table.protocol: _as_json(table) for table in tables}

    def _compares(self, plan: Plan, table: Table) -> bool:
        """Whether a table shows more than one of the plan's cells, such as a variation beside the default."""

        def count(rows: Iterable[Row]) -> int:
            seed = self.seeds[0]
            return len({self._path(Cell(self.dataset, table.protocol, seed, row.job, row.changes)) for row in rows})

        return count(map(plan.row, table.rows)) >= min(2, count(plan.rows))

    def _figure(self, plan: FigurePlan, collectors: list[Collector], log: InteractionLog) -> tuple[str, dict[str, Any]]:
        parts, data = [], {}
        for collector in collectors:
            made = plan.make(collector, log)
            if made is None:
                continue
            if made.drawing:
                file = f"{plan.name}-{self.dataset}-{collector.protocol}.svg"
                path = self.output / "docs" / "figures" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, standalone(made.drawing) + "\n")
                parts.append(f"![{_alt(made.drawing.description)}](figures/{file})")
            parts.append(made.text)
            data[collector.protocol] = made.data
        return "\n\n".join(parts), data

    @property
    def _folder(self) -> CellFolder:
        return CellFolder(self.folder)

    def _settings(self, cell: Cell) -> dict[str, Any]:
        return {"data": self.identity} | self.settings(cell)

    def _path(self, cell: Cell) -> Path:
        return self._folder.path(cell, self._settings(cell))

    def _file(self, cell: Cell) -> str:
        """A cell's result in the study's folder."""
        return self._path(cell).relative_to(self.folder).as_posix()


def _order(section: str) -> tuple[Any, ...]:
    """Tables, figures, ablations; of each MovieLens-1M first."""
    plan, _, dataset = section.partition(" ")
    kinds = ("table", "figure", "ablation")
    kind = next((place for place, kind in enumerate(kinds) if plan.startswith(kind)), len(kinds))
    return kind, plan, dataset != "ml-1m", dataset


def _as_json(table: Table) -> dict[str, Any]:
    return {
        "rows": {label: {m: asdict(one) for m, one in row.items()} for label, row in table.rows.items()},
        "differences": [
            {"model": ours, "against": other, "metrics": {m: asdict(one) for m, one in found.items()}}
            for (ours, other), found in table.differences.items()
        ],
    }


def _alt(text: str) -> str:
    """Words for an image's alternative text."""
    return text.replace("[", "(").replace("]", ")")

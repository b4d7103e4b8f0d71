"""From finished cells to a table: means, spreads and paired differences, over the seeds that are done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from dccl_tf.report.results import COLUMNS
from dccl_tf.study.cells import Cell, Judged
from dccl_tf.study.plans import Plan, Row
from dccl_tf.study.statistics import BySeed, Difference, Summary, difference, summary, total

METRICS = {
    "next": COLUMNS["next"],
    "liked": ("macro_auc/liked", "group_auc/liked", "log_loss/liked", "calibration_error/liked"),
}
MAIN = {"next": "ndcg@10/neg100", "liked": "macro_auc/liked"}


@dataclass(frozen=True)
class Table:
    """A plan's figures under one protocol; rows without a finished cell are missing."""

    protocol: str
    metrics: tuple[str, ...]
    rows: dict[str, dict[str, Summary]]  # label to metric to figure
    differences: dict[tuple[str, str], dict[str, Difference]]  # (model, other) to metric to difference


class Collector:
    """Finished cells of one data set under one protocol, seed by seed."""

    def __init__(
        self, dataset: str, protocol: str, seeds: Iterable[int], load: Callable[[Cell], Judged | None]
    ) -> None:
        """Args:
        dataset: name.
        protocol: "next" or "liked".
        seeds: to look for.
        load: the result of a cell; None if it is not done.
        """
        self.dataset, self.protocol, self.seeds = dataset, protocol, tuple(seeds)
        self._load = cache(load)

    def results(self, row: Row) -> dict[int, Judged]:
        """The finished seeds of a row's job."""
        cells = {seed: Cell(self.dataset, self.protocol, seed, row.job, row.changes) for seed in self.seeds}
        return {seed: found for seed, cell in cells.items() if (found := self._load(cell)) is not None}

    def by_user(self, row: Row, metric: str) -> BySeed:
        """A metric of a row's model, user by user."""
        found = {seed: judged.values.get(row.model, {}).get(metric) for seed, judged in self.results(row).items()}
        return {seed: values for seed, values in found.items() if values is not None}

    def totals(self, row: Row, metric: str) -> dict[int, float]:
        """A metric of all users at once."""
        found = {seed: judged.totals.get(row.model, {}).get(metric) for seed, judged in self.results(row).items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def table(self, plan: Plan) -> Table:
        """All that is to be had of a plan."""
        metrics = METRICS[self.protocol]
        rows = {row.label: self._row(row, metrics) for row in plan.rows}
        pairs = {pair: self._difference(*map(plan.row, pair), metrics) for pair in plan.pairs}
        return Table(
            self.protocol,
            tuple(metric for metric in metrics if any(metric in row for row in rows.values())),
            {label: row for label, row in rows.items() if row},
            {pair: found for pair, found in pairs.items() if found},
        )

    def _row(self, row: Row, metrics: tuple[str, ...]) -> dict[str, Summary]:
        found = {}
        for metric in metrics:
            if values := self.by_user(row, metric):
                found[metric] = summary(values)
            elif totals := self.totals(row, metric):
                found[metric] = total(totals)
        return found

    def _difference(self, row: Row, other: Row, metrics: tuple[str, ...]) -> dict[str, Difference]:
        found = {}
        for metric in metrics:
            ours, theirs = self.by_user(row, metric), self.by_user(other, metric)
            if ours.keys() & theirs.keys():
                found[metric] = difference(ours, theirs)
        return found

"""Figures 4 to 7 from finished cells: what is drawn, what is said of it, and the numbers behind it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from dccl_tf.data.schema import InteractionLog
from dccl_tf.metrics import by_activity, estimate
from dccl_tf.report import VectorMap
from dccl_tf.report.drawing import Drawing
from dccl_tf.report.plots import vector_map
from dccl_tf.run_config import DcclConfig
from dccl_tf.study import plots
from dccl_tf.study.cells import Cell, Changes
from dccl_tf.study.collect import MAIN, Collector
from dccl_tf.study.markdown import PROTOCOLS, heading, markdown_table
from dccl_tf.study.plans import DEVICES, FAIR, Row
from dccl_tf.study.settings import RUN_DEFAULTS
from dccl_tf.study.statistics import BySeed, summary

SLICES = (2, 5, 10)  # rounds into which the second half is cut (Fig. 5)


@dataclass(frozen=True)
class Made:
    """One protocol's part of a figure's section."""

    text: str  # Markdown, below the drawing
    drawing: Drawing | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FigurePlan:
    """One figure of the paper."""

    name: str
    title: str
    job: str
    changes: tuple[Changes, ...]  # one cell a seed for each
    make: Callable[[Collector, InteractionLog], Made | None]  # None: no cell of it is done

    def cells(self, dataset: str, protocols: Iterable[str], seeds: Iterable[int]) -> list[Cell]:
        return [
            Cell(dataset, protocol, seed, self.job, changes)
            for seed in seeds
            for protocol in protocols
            for changes in self.changes
        ]


def _activity(found: Collector, log: InteractionLog) -> Made | None:
    """Fig. 4: gain by group of users."""
    metric = MAIN[found.protocol]
    names = (FAIR, "DCCL-e", DEVICES)
    seeds = {name: found.by_user(Row(name, "dccl", name), metric) for name in names}
    if not all(seeds.values()):
        return None
    values = {name: _over_seeds(each) for name, each in seeds.items()}
    groups = by_activity(log.lengths, ~np.isnan(sum(values.values())))
    if not groups:
        return Made(f"{PROTOCOLS[found.protocol]}: too few users for groups.")
    interactions = [float(np.median(log.lengths[group])) for group in groups]
    means = {name: [float(each[group].mean()) for group in groups] for name, each in values.items()}
    gains = {name: [estimate((values[name] - values[FAIR])[group]) for group in groups] for name in names[1:]}
    drawing = plots.gains_by_activity(
        interactions, (FAIR, means[FAIR]), {name: plots.Gains(means[name], gains[name]) for name in names[1:]}, metric
    )
    half = len(groups) // 2
    halves = {
        name: [estimate((values[name] - values[FAIR])[np.concatenate(part)]) for part in (groups[:half], groups[half:])]
        for name in names[1:]
        if half
    }
    text = (
        f"**{PROTOCOLS[found.protocol]}**: {len(groups)} groups of about {len(groups[-1])} users. {drawing.description}"
    )
    if halves:
        rows = [
            [name, *(f"{100 * one.mean:+.2f} [{100 * one.low:+.2f}, {100 * one.high:+.2f}]" for one in each)]
            for name, each in halves.items()
        ]
        header = [f"gain of {heading(metric)} over {FAIR}", "more active half", "less active half"]
        text += "\n\n" + markdown_table(header, rows)
    data = {
        "users": [len(group) for group in groups],
        "interactions": interactions,
        "values": means,
        "gains": {name: [asdict(one) for one in each] for name, each in gains.items()},
        "seeds": sorted(seeds[FAIR]),
    }
    return Made(text, drawing, data)


def _in_rounds(count: int) -> Changes:
    return (*RUN_DEFAULTS, ("rounds", count))


def _rounds(found: Collector, log: InteractionLog) -> Made | None:
    """Fig. 5: a metric after each round."""
    metric = MAIN[found.protocol]
    curves: dict[int, dict[str, list[tuple[float, float]]]] = {}
    for count in SLICES:
        curve: dict[str, list[tuple[float, float]]] = {}
        for name in (FAIR, DEVICES):
            for number in range(1, count + 1):
                row = Row("", "rounds", f"round {number}: {name}", _in_rounds(count))
                if values := found.by_user(row, metric):
                    point = summary(values)
                    curve.setdefault(name, []).append((point.mean, point.spread or 0.0))
        if len(curve) == 2:
            curves[count] = curve
    if not curves:
        return None
    drawing = plots.rounds(curves, metric)
    rows = [
        [f"{count} rounds", *(f"{100 * curve[name][at][0]:.2f}" for at in (0, -1) for name in (FAIR, DEVICES))]
        for count, curve in curves.items()
    ]
    header = ["", *(f"{name}, {when} round" for when in ("first", "last") for name in (FAIR, DEVICES))]
    text = (
        f"**{PROTOCOLS[found.protocol]}**, {heading(metric)}, with {DcclConfig.item_width} floats an item:\n\n"
        + markdown_table(header, rows)
    )
    return Made(text, drawing, {"metric": metric, "curves": curves})


def _case(found: Collector, log: InteractionLog) -> Made | None:
    """Fig. 6: one long-tail user."""
    case = _fact(found, "case")
    if not case:
        return None
    tops = case["top"]
    rows = [[str(place + 1), *(_marked(top[place], case["held_out"]) for top in tops.values())] for place in range(5)]
    text = (
        f"{case['user'].capitalize()}, {case['interactions']} interactions, of the least active tenth: the one among "
        "200 of them whose held-out item DCCL-e ranks best, so this shows what can happen, not what does as a rule.\n\n"
        f"Last five: {'; '.join(case['history'])}. Held out: **{case['held_out']}**. Best five of all items:\n\n"
        + markdown_table(["", *tops], rows)
    )
    return Made(text, data={"case": case})


def _map(found: Collector, log: InteractionLog) -> Made | None:
    """Fig. 7: the metapatches in two dimensions, with a measure of what the eye sees."""
    maps = [judged.facts["map"] for judged in found.results(_DCCL).values() if judged.facts.get("map")]
    if not maps:
        return None
    drawing = vector_map(VectorMap(**maps[0]))
    purities = [(one["purity"], one["shuffled_purity"]) for one in maps]
    means = 100 * np.mean(purities, axis=0)
    text = (
        f"**{PROTOCOLS[found.protocol]}**: {len(maps[0]['points'])} devices, coloured by the main category of what "
        f"each learned from. Of a vector's 10 nearest neighbours {means[0]:.1f}% share its category, {means[1]:.1f}% "
        f"if categories are shuffled ({len(maps)} seed{'s' if len(maps) > 1 else ''})."
    )
    data = {"purity": [p for p, _ in purities], "shuffled_purity": [s for _, s in purities]}
    return Made(text, drawing, data)


_DCCL = Row("", "dccl", DEVICES)
FIGURES = {
    "4": FigurePlan("figure4", "Figure 4: gain by activity of users", "dccl", ((),), _activity),
    "5": FigurePlan(
        "figure5",
        "Figure 5: rounds at three intervals",
        "rounds",
        tuple(_in_rounds(count) for count in SLICES),
        _rounds,
    ),
    "6": FigurePlan("figure6", "Figure 6: one user of the long tail", "dccl", ((),), _case),
    "7": FigurePlan("figure7", "Figure 7: map of the metapatches", "dccl", ((),), _map),
}


def plan_of_figure(number: str, quick: bool = False) -> FigurePlan:
    """The plan of Figure 4, 5, 6 or 7; a quick one has only the first of its changes.

    Raises:
      ValueError: there is no such figure.
    """
    if number not in FIGURES:
        raise ValueError(f"figure: expected one of {', '.join(FIGURES)}, got {number!r}")
    plan = FIGURES[number]
    return replace(plan, changes=plan.changes[:1]) if quick else plan


def _over_seeds(values: BySeed) -> np.ndarray:
    """[U]: each user's mean; NaN for users who do not count for some seed."""
    return np.mean(list(values.values()), axis=0, dtype=np.float64)


def _fact(found: Collector, name: str) -> Any:
    """Of the first seed that has it."""
    facts = (judged.facts.get(name) for judged in found.results(_DCCL).values())
    return next((fact for fact in facts if fact), None)


def _marked(item: str, held_out: str) -> str:
    return f"**{item}**" if item == held_out else item

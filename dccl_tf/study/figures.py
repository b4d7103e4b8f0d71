"""Figures 4 to 7 from finished cells: what is drawn, what is said of it, and the numbers behind it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from dccl_tf.data.schema import InteractionLog
from dccl_tf.findings import TAIL
from dccl_tf.metrics import estimate
from dccl_tf.report import VectorMap, activity_groups
from dccl_tf.report.drawing import Drawing
from dccl_tf.report.numbers import difference, heading
from dccl_tf.report.plots import activity, vector_map
from dccl_tf.rounds import DEVICES, FAIR
from dccl_tf.run_config import DcclConfig
from dccl_tf.study import plots
from dccl_tf.study.cells import Cell, Changes
from dccl_tf.study.collect import MAIN, Collector
from dccl_tf.study.markdown import PROTOCOLS, markdown_table, seeds_in_words
from dccl_tf.study.plans import Row
from dccl_tf.study.settings import RUN_DEFAULTS
from dccl_tf.study.statistics import BySeed, summary
from dccl_tf.study.statistics import difference as paired

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
    groups, members = activity_groups(log.lengths, values, FAIR)
    if not groups:
        return Made(f"{PROTOCOLS[found.protocol]}: too few users for groups.")
    drawing = activity(groups, metric)
    text = (
        f"**{PROTOCOLS[found.protocol]}**: {len(groups)} groups of about {groups[-1].users} users. "
        f"{drawing.description}"
    )
    if half := len(members) // 2:
        halves = [np.concatenate(part) for part in (members[:half], members[half:])]
        rows = [
            [name, *(difference(metric, estimate((values[name] - values[FAIR])[half])) for half in halves)]
            for name in names[1:]
        ]
        header = [f"gain of {heading(metric)} over {FAIR}", "more active half", "less active half"]
        text += "\n\n" + markdown_table(header, rows)
    return Made(text, drawing, {"groups": [asdict(group) for group in groups], "seeds": sorted(seeds[FAIR])})


def _in_rounds(count: int) -> Changes:
    return (*RUN_DEFAULTS, ("rounds", count))


def _rounds(found: Collector, log: InteractionLog) -> Made | None:
    """Fig. 5: a metric after each round."""
    metric = MAIN[found.protocol]
    curves = {count: curve for count in SLICES if (curve := _curve(found, count, metric))}
    if not curves:
        return None
    drawing = plots.rounds(curves, metric)
    rows = []
    for count, curve in curves.items():
        means = [f"{100 * curve.values[name][at].mean:.2f}" for at in (0, -1) for name in (FAIR, DEVICES)]
        gains = [difference(metric, curve.gains[at].as_estimate()) for at in (0, -1)]
        rows.append([f"{count} rounds", *means[:2], gains[0], *means[2:], gains[1]])
    header = ["", *(f"{name}, {when} round" for when in ("first", "last") for name in (FAIR, DEVICES, "gain"))]
    seeds = next(iter(curves.values())).gains[0].seeds
    text = (
        f"**{PROTOCOLS[found.protocol]}**, {heading(metric)}, {seeds_in_words(seeds)}, with {DcclConfig.item_width} "
        f"floats an item:\n\n" + markdown_table(header, rows)
    )
    return Made(text, drawing, {"metric": metric, "curves": {n: asdict(curve) for n, curve in curves.items()}})


def _curve(found: Collector, count: int, metric: str) -> plots.Rounds | None:
    """Both models after each of `count` rounds; None unless all of them are done."""
    numbers = range(1, count + 1)
    by_user = {
        name: [found.by_user(Row("", "rounds", f"round {n}: {name}", _in_rounds(count)), metric) for n in numbers]
        for name in (FAIR, DEVICES)
    }
    if not all(all(each) for each in by_user.values()):
        return None
    values = {name: [summary(one) for one in each] for name, each in by_user.items()}
    gains = [paired(ours, theirs) for ours, theirs in zip(by_user[DEVICES], by_user[FAIR], strict=True)]
    return plots.Rounds(values, gains)


def _case(found: Collector, log: InteractionLog) -> Made | None:
    """Fig. 6: one long-tail user."""
    seed, case = _fact(found, "case")
    if not case:
        return None
    tops = case["top"]
    rows = [[str(place + 1), *(_marked(top[place], case["held_out"]) for top in tops.values())] for place in range(5)]
    text = (
        f"{case['user'][:1].upper()}{case['user'][1:]}, {case['interactions']} interactions, of the least active "
        f"tenth: the one among up to {TAIL} of them whose held-out item DCCL-e ranks best (seed {seed}), so this shows "
        f"what can happen, not what does as a rule.\n\nLast five: {'; '.join(case['history'])}. Held out: "
        f"**{case['held_out']}**. Best five of all items:\n\n" + markdown_table(["", *tops], rows)
    )
    return Made(text, data={"case": case, "seed": seed})


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


def _fact(found: Collector, name: str) -> tuple[int, Any]:
    """The first seed that has it, and what it has; None if no seed has it."""
    facts = ((seed, judged.facts.get(name)) for seed, judged in found.results(_DCCL).items())
    return next(((seed, fact) for seed, fact in facts if fact), (0, None))


def _marked(item: str, held_out: str) -> str:
    return f"**{item}**" if item == held_out else item

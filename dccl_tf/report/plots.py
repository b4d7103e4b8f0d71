"""The report's figures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dccl_tf.metrics import Estimate
from dccl_tf.report import numbers
from dccl_tf.report.activity import ActivityGroup
from dccl_tf.report.drawing import COLOURS, INK, OTHER, STYLE, Drawing, svg_of
from dccl_tf.report.numbers import scale
from dccl_tf.report.results import LOWER_IS_BETTER, VectorMap

SHOWN_CATEGORIES = len(COLOURS)


class Interval(Protocol):
    """A mean with its interval."""

    mean: float
    low: float
    high: float


@mpl.rc_context(STYLE)
def activity(groups: Sequence[ActivityGroup], metric: str) -> Drawing:
    """Models by group of users, most active first, and below their gains over the baseline (Fig. 4)."""
    figure, above, below = values_and_gains(metric)
    places, factor = np.arange(1, len(groups) + 1), scale(metric)
    colours = dict(zip(groups[0].values, COLOURS, strict=False))
    baseline, *models = colours
    for name, colour in colours.items():
        values = factor * np.array([group.values[name] for group in groups])
        above.plot(places, values, "o-", color=colour, markersize=4, linewidth=1.3)
    for number, name in enumerate(models):
        gains = [group.gains[name] for group in groups]
        shift = 0.24 * (number - (len(models) - 1) / 2)
        intervals(below, places + shift, gains, metric, color=colours[name])
    below.set_xticks(places, [f"{group.interactions:.0f}" for group in groups], fontsize=8)
    below.set_xlabel("median number of interactions of the group's users, most active first")
    ahead = [_ahead(name, baseline, [group.gains[name] for group in groups], metric) for name in models]
    description = f"{numbers.heading(metric)} in groups of users by activity: {'; '.join(ahead)}."
    return Drawing(svg_of(figure), description, list(colours.items()))


def values_and_gains(metric: str) -> tuple[Figure, Axes, Axes]:
    """A figure with room for models' values of a metric above, and below for gains with their intervals."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.set_ylabel(f"{numbers.heading(metric)}{' (%)' if scale(metric) == 100 else ''}")
    below.set_ylabel("gain, 95% interval")
    below.axhline(0, color=INK, linewidth=0.8)
    return figure, above, below


def intervals(axes: Axes, places: np.ndarray, found: Sequence[Interval], metric: str, **style: Any) -> None:
    """Means at some places, with their 95% intervals."""
    means, lows, highs = (
        scale(metric) * np.array([getattr(one, key) for one in found]) for key in ("mean", "low", "high")
    )
    errors = np.array([means - lows, highs - means])
    axes.errorbar(places, means, errors, **{"fmt": "o", "markersize": 4, "elinewidth": 1.1} | style)


def _ahead(name: str, baseline: str, gains: Sequence[Estimate], metric: str) -> str:
    """In how many groups a model is the better one."""
    verdicts = [numbers.verdict(metric, gain) for gain in gains]
    better = sum((gain.mean > 0) != (metric in LOWER_IS_BETTER) for gain in gains)
    return (
        f"{name} is better than {baseline} in {better} of {len(gains)} groups, clearly so in "
        f"{verdicts.count('better')}, and clearly worse in {verdicts.count('worse')}"
    )


@mpl.rc_context(STYLE)
def vector_map(found: VectorMap) -> Drawing:
    """The metapatches by t-SNE, coloured by main category (Fig. 7)."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    points, categories = np.array(found.points).reshape(-1, 2), np.array(found.categories)
    common = [name for name, _ in Counter(found.categories).most_common(SHOWN_CATEGORIES)]
    layers = [(name, categories == name, colour) for name, colour in zip(common, COLOURS, strict=False)]
    rest = ~np.isin(categories, common)
    if rest.any():
        layers.append(("other", rest, OTHER))
    for _, chosen, colour in layers:  # the rarest last, on top
        axes.scatter(*points[chosen].T, s=11, color=colour, linewidths=0)
    axes.set_axis_off()
    description = f"Map of {len(points)} devices' vectors in the colours of {len(layers)} categories."
    return Drawing(
        svg_of(figure), description, [(f"{name} ({chosen.sum()})", colour) for name, chosen, colour in layers]
    )


@mpl.rc_context(STYLE)
def curves(stages: dict[str, dict[str, Any]]) -> Drawing:
    """Training loss and, for the stages that have it, validation by epoch."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = [("loss", "training loss (nats)")]
    if any(history["validation"] for history in stages.values()):
        panels.append(("validation", "validation (more is better)"))
    colours = COLOURS if len(stages) <= len(COLOURS) else mpl.color_sequences["tab20"]
    legend = [(name, mpl.colors.to_hex(colours[i % len(colours)])) for i, name in enumerate(stages)]
    for axes, (key, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, colour in legend:
            _by_epoch(axes, stages[name][key], colour)
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    losses = [
        f"{name} from {history['loss'][0]:.3f} to {history['loss'][-1]:.3f}"
        for name, history in stages.items()
        if history["loss"]
    ]
    return Drawing(svg_of(figure), f"Training loss by epoch: {', '.join(losses)}.", legend)


def _by_epoch(axes: Axes, values: list[float], colour: str) -> None:
    axes.plot(np.arange(1, len(values) + 1), values, "o-", color=colour, markersize=3, linewidth=1.2)

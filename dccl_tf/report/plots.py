"""The report's figures."""

from collections import Counter
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dccl_tf.report.drawing import COLOURS, INK, OTHER, STYLE, Drawing, svg_of
from dccl_tf.report.numbers import scale
from dccl_tf.report.results import ActivityGroup, VectorMap

SHOWN_CATEGORIES = len(COLOURS)


@mpl.rc_context(STYLE)
def activity(groups: list[ActivityGroup], model: str, other: str, metric: str) -> Drawing:
    """Two models' metric by group of users, most active first, and the gain below (Fig. 4)."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    places = np.arange(1, len(groups) + 1)
    values, others = (scale(metric) * np.array([group.values[name] for group in groups]) for name in (model, other))
    for series, colour in ((others, COLOURS[0]), (values, COLOURS[1])):
        above.plot(places, series, "o-", color=colour, markersize=4)
    above.set_ylabel(f"{metric} (%)" if scale(metric) == 100 else metric)
    gains = values - others
    below.bar(places, gains, color=[COLOURS[2] if gain >= 0 else COLOURS[1] for gain in gains])
    below.axhline(0, color=INK, linewidth=0.8)
    below.set_ylabel("gain")
    below.set_xticks(places, [f"{group.interactions:.0f}" for group in groups], fontsize=8)
    below.set_xlabel("median number of interactions of the group's users")
    description = f"{model} is above {other} in {(gains > 0).sum()} of {len(groups)} groups of users by activity."
    return Drawing(svg_of(figure), description, [(other, COLOURS[0]), (model, COLOURS[1])])


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

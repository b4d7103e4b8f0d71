"""The report's figures: SVG without a background, whose ink takes the page's text colour, light or dark."""

import hashlib
import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dccl_tf.report.numbers import scale
from dccl_tf.report.results import ActivityGroup, VectorMap

COLOURS = ("#3f7cc4", "#d1603d", "#4f9d69", "#9368bd", "#c9a227", "#3aa6a6", "#c2587f", "#8c6d46")
OTHER = "#9aa0a6"
SHOWN_CATEGORIES = len(COLOURS)

_INK = "#010203"  # drawn nowhere else; becomes currentColor
_STYLE = {
    **{name: _INK for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")},
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _INK,
    "grid.alpha": 0.12,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dccl",  # the same figure gives the same bytes
}


@dataclass(frozen=True)
class Drawing:
    """A figure for the page, which writes the legend itself: names may hold any script and any sign."""

    svg: str
    description: str  # for those who do not see it
    legend: list[tuple[str, str]]  # name, colour


@mpl.rc_context(_STYLE)
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
    below.axhline(0, color=_INK, linewidth=0.8)
    below.set_ylabel("gain")
    below.set_xticks(places, [f"{group.interactions:.0f}" for group in groups], fontsize=8)
    below.set_xlabel("median number of interactions of the group's users")
    description = f"{model} is above {other} in {(gains > 0).sum()} of {len(groups)} groups of users by activity."
    return Drawing(_svg(figure), description, [(other, COLOURS[0]), (model, COLOURS[1])])


@mpl.rc_context(_STYLE)
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
    return Drawing(_svg(figure), description, [(f"{name} ({chosen.sum()})", colour) for name, chosen, colour in layers])


@mpl.rc_context(_STYLE)
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
    return Drawing(_svg(figure), f"Training loss by epoch: {', '.join(losses)}.", legend)


def _by_epoch(axes: Axes, values: list[float], colour: str) -> None:
    axes.plot(np.arange(1, len(values) + 1), values, "o-", color=colour, markersize=3, linewidth=1.2)


def _svg(figure: Figure) -> str:
    """The figure's SVG, whose ids begin with its own hash: a page with several figures may have an id only once."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # named but never referred to
    prefix = f"f{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)

"""The report's figures as SVG text."""

import io
from collections import Counter

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dccl_tf.report.results import ActivityGroup, VectorMap

COLOURS = ("#3b6fb6", "#d1603d", "#4f9d69", "#8a5fb0", "#c9a227", "#3aa6a6", "#b5527f", "#7a7a7a", "#bfbfbf")
SHOWN_CATEGORIES = 8


def activity(groups: list[ActivityGroup], model: str, other: str, metric: str) -> str:
    """Two models' metric by group of users, most active first, and the gain below (Fig. 4)."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    places = np.arange(1, len(groups) + 1)
    for name, colour in ((model, COLOURS[1]), (other, COLOURS[0])):
        above.plot(places, [group.values[name] for group in groups], "o-", color=colour, label=name, markersize=4)
    above.set_ylabel(metric)
    above.legend(frameon=False)
    gains = [group.values[model] - group.values[other] for group in groups]
    below.bar(places, gains, color=[COLOURS[2] if gain >= 0 else COLOURS[1] for gain in gains])
    below.axhline(0, color="#888888", linewidth=0.8)
    below.set_ylabel("gain")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_xlabel("group of users (1 = most active)")
    return _svg(figure)


def vector_map(found: VectorMap) -> str:
    """The metapatches by t-SNE, coloured by main category (Fig. 7)."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    points, categories = np.array(found.points), np.array(found.categories)
    common = [name for name, _ in Counter(found.categories).most_common(SHOWN_CATEGORIES)]
    for name, colour in zip([*common, "other"], COLOURS, strict=False):
        chosen = ~np.isin(categories, common) if name == "other" else categories == name
        axes.scatter(*points[chosen].T, s=9, color=colour, label=name, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return _svg(figure)


def curves(stages: dict[str, dict]) -> str:
    """Training loss of every stage by epoch."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, history), colour in zip(stages.items(), COLOURS * 9, strict=False):
        axes.plot(np.arange(1, len(history["loss"]) + 1), history["loss"], "o-", color=colour, markersize=3, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "dccl", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]

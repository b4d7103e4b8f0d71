"""The study's own figures, in the style of the report's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from dccl_tf.metrics import Estimate
from dccl_tf.report.drawing import COLOURS, INK, STYLE, Drawing, svg_of
from dccl_tf.report.numbers import scale
from dccl_tf.study.markdown import heading


@dataclass(frozen=True)
class Gains:
    """A model in groups of users: its metric, and its gain over another with a 95% interval."""

    values: list[float]
    gains: list[Estimate]


@mpl.rc_context(STYLE)
def gains_by_activity(
    interactions: Sequence[float], base: tuple[str, Sequence[float]], models: Mapping[str, Gains], metric: str
) -> Drawing:
    """Fig. 4: models by group of users, most active first, and below their gains over the first.

    Args:
      interactions: median of each group.
      base: name and values of what the gains are over.
      models: the others, by name.
      metric: its name.
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    places, factor = np.arange(1, len(interactions) + 1), scale(metric)
    legend = list(zip([base[0], *models], COLOURS, strict=False))
    for (_, colour), values in zip(legend, [base[1], *(found.values for found in models.values())], strict=True):
        above.plot(places, factor * np.array(values), "o-", color=colour, markersize=4, linewidth=1.3)
    for number, ((_, colour), found) in enumerate(zip(legend[1:], models.values(), strict=True)):
        means, lows, highs = (
            factor * np.array([getattr(g, key) for g in found.gains]) for key in ("mean", "low", "high")
        )
        shift = 0.24 * (number - (len(models) - 1) / 2)
        errors = np.array([means - lows, highs - means])
        below.errorbar(places + shift, means, errors, fmt="o", color=colour, markersize=4, elinewidth=1.1)
    below.axhline(0, color=INK, linewidth=0.8)
    unit = " (%)" if factor == 100 else ""
    above.set_ylabel(f"{heading(metric)}{unit}")
    below.set_ylabel("gain, 95% interval")
    below.set_xticks(places, [f"{count:.0f}" for count in interactions], fontsize=8)
    below.set_xlabel("median number of interactions of the group's users, most active first")
    ahead = [
        f"{name} is above {base[0]} in {sum(g.mean > 0 for g in found.gains)} of {len(places)} groups, clearly so in "
        f"{sum(g.low > 0 for g in found.gains)}, and clearly below in {sum(g.high < 0 for g in found.gains)}"
        for name, found in models.items()
    ]
    description = f"{heading(metric)} in groups of users by activity: {'; '.join(ahead)}."
    return Drawing(svg_of(figure), description, legend)


@mpl.rc_context(STYLE)
def rounds(curves: Mapping[int, Mapping[str, Sequence[tuple[float, float]]]], metric: str) -> Drawing:
    """Fig. 5: a metric after each round, for several numbers of rounds.

    Args:
      curves: number of rounds to model to (mean, spread over seeds) after each; the first model is drawn dashed.
      metric: its name.
    """
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    factor, legend, words = scale(metric), [], []
    for (count, models), colour in zip(curves.items(), COLOURS, strict=False):
        share = 100 * np.arange(1, count + 1) / count
        for number, (name, points) in enumerate(models.items()):
            means, spreads = factor * np.array(points, float).T
            style = {"fmt": "o-", "linewidth": 1.6} if number else {"fmt": "--", "linewidth": 1.0, "alpha": 0.8}
            axes.errorbar(share, means, np.nan_to_num(spreads), color=colour, markersize=4, elinewidth=0.9, **style)
            words.append(f"{count} rounds, {name}: {means[0]:.2f} to {means[-1]:.2f}")
        dashed, drawn = models
        legend.append((f"{count} rounds: {drawn} (dashed: {dashed})", colour))
    axes.set_xlabel("share of the second half that was used (%)")
    axes.set_ylabel(f"{heading(metric)}{' (%)' if factor == 100 else ''}")
    return Drawing(svg_of(figure), f"{heading(metric)} from the first round to the last: {'; '.join(words)}.", legend)

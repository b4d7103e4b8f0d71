"""The study's own figure, in the style of the report's."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np

from dccl_tf.report.drawing import COLOURS, STYLE, Drawing, svg_of
from dccl_tf.report.numbers import heading, scale
from dccl_tf.report.plots import intervals, values_and_gains
from dccl_tf.study.statistics import Difference, Summary


@dataclass(frozen=True)
class Rounds:
    """Two models after each round."""

    values: dict[str, list[Summary]]  # the baseline first
    gains: list[Difference]  # of the other over it


@mpl.rc_context(STYLE)
def rounds(curves: Mapping[int, Rounds], metric: str) -> Drawing:
    """Fig. 5: a metric after each round, for several numbers of rounds, and below the gains over the baseline.

    Args:
      curves: by number of rounds; the baseline is drawn dashed.
      metric: its name.
    """
    figure, above, below = values_and_gains(metric)
    factor, legend, words = scale(metric), [], []
    for number, ((count, found), colour) in enumerate(zip(curves.items(), COLOURS, strict=False)):
        share = 100 * np.arange(1, count + 1) / count
        for (name, points), style in zip(found.values.items(), ("--", "o-"), strict=True):
            means = factor * np.array([point.mean for point in points])
            above.plot(share, means, style, color=colour, markersize=4, linewidth=1.3)
            words.append(f"{count} rounds, {name}: {means[0]:.2f} to {means[-1]:.2f}")
        intervals(below, share + 0.8 * (number - (len(curves) - 1) / 2), found.gains, metric, color=colour)
        baseline, ours = found.values
        legend.append((f"{count} rounds: {ours} (dashed: {baseline})", colour))
    below.set_xlabel("share of the second half that was used (%)")
    return Drawing(svg_of(figure), f"{heading(metric)} from the first round to the last: {'; '.join(words)}.", legend)

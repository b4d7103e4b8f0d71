"""How figures are written and judged, the same in the terminal and on the page.

Shares are written in percent, losses in nats. A difference counts as clear if its 95% interval excludes 0.
"""

import math

from dccl_tf.metrics import Estimate
from dccl_tf.report.results import COLUMNS, LOWER_IS_BETTER, ProtocolResults

MISSING = "n/a"  # no user counts, or the metric is not defined for this model
UNCLEAR = "no clear difference"


def columns(protocol: str, found: ProtocolResults) -> list[str]:
    """The metrics that a protocol's table shows: those that at least one model has."""
    return [metric for metric in COLUMNS[protocol] if any(metric in row for row in found.models.values())]


def heading(metric: str) -> str:
    """A metric's name for people, with what is better where less is."""
    name, _, protocol = metric.partition("/")
    words = {
        "macro_auc": "macro-AUC",
        "group_auc": "group AUC",
        "log_loss": "log loss",
        "calibration_error": "calibration error",
    }
    words = words.get(name, name.upper())
    return words + (" (full)" if protocol == "full" else "") + (" ↓" if metric in LOWER_IS_BETTER else "")


def scale(metric: str) -> int:
    """What a figure is multiplied by when it is shown."""
    return 1 if metric.startswith("log_loss") else 100


def mean(metric: str, estimate: Estimate | None) -> str:
    """The mean alone."""
    return _number(metric, estimate.mean) if _known(estimate) else MISSING


def interval(metric: str, estimate: Estimate | None, signed: bool = False) -> str:
    """The 95% interval in brackets; empty if there is none."""
    if not _known(estimate):
        return ""
    return f"[{_number(metric, estimate.low, signed)}, {_number(metric, estimate.high, signed)}]"


def cell(metric: str, estimate: Estimate | None) -> str:
    """A figure with its interval."""
    return f"{mean(metric, estimate)} {interval(metric, estimate)}".rstrip()


def difference(metric: str, paired: Estimate | None) -> str:
    """A paired difference with its interval, both signed; empty if there is none."""
    return (
        f"{_number(metric, paired.mean, signed=True)} {interval(metric, paired, signed=True)}" if _known(paired) else ""
    )


def verdict(metric: str, paired: Estimate | None) -> str:
    """'better', 'worse' or 'no clear difference', by whether the paired interval excludes 0; empty without one."""
    if not _known(paired):
        return ""
    if paired.low <= 0 <= paired.high:
        return UNCLEAR
    return "better" if (paired.mean > 0) != (metric in LOWER_IS_BETTER) else "worse"


def best(metric: str, found: ProtocolResults) -> set[str]:
    """The models with the best mean, more than one if they tie; the oracle, which knows the truth, does not compete."""
    means = {
        model: row[metric].mean for model, row in found.models.items() if model != "oracle" and _known(row.get(metric))
    }
    if not means:
        return set()
    winner = (min if metric in LOWER_IS_BETTER else max)(means.values())
    return {model for model, value in means.items() if value == winner}


def _known(estimate: Estimate | None) -> bool:
    return estimate is not None and math.isfinite(estimate.mean)


def _number(metric: str, value: float, signed: bool = False) -> str:
    digits = 4 if scale(metric) == 1 else 2
    rounded = round(scale(metric) * value, digits) + 0.0  # -0.0 would be written with its sign
    return f"{rounded:{'+' if signed else ''}.{digits}f}"

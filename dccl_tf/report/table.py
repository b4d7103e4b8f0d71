"""The results as aligned text for a terminal."""

from dccl_tf.metrics import Estimate
from dccl_tf.report.results import COLUMNS, ProtocolResults, Results


def results_table(results: Results) -> str:
    """One table a protocol: a model a row, each metric with its 95% interval over users."""
    return "\n\n".join(_table(name, found) for name, found in results.protocols.items())


def cell(metric: str, estimate: Estimate) -> str:
    """A figure with its interval; shares as percentages."""
    if metric.startswith("log_loss"):
        return f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
    return f"{100 * estimate.mean:.2f} [{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def _table(protocol: str, found: ProtocolResults) -> str:
    columns = [metric for metric in COLUMNS[protocol] if all(metric in row for row in found.models.values())]
    rows = [["", *columns]]
    rows += [[model, *(cell(metric, row[metric]) for metric in columns)] for model, row in found.models.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    title = f"Protocol {protocol} (mean over users, 95% bootstrap interval; fair baseline: {found.baseline})"
    return "\n".join([title, lines[0], "-" * len(lines[0]), *lines[1:]])

"""The results as aligned text for a terminal."""

from dccl_tf.metrics import Estimate
from dccl_tf.report.numbers import UNCLEAR, cell, columns, difference, verdict
from dccl_tf.report.results import ProtocolResults, Results


def results_table(results: Results) -> str:
    """Two tables a protocol, a model a row: each metric, and its paired difference from the fair baseline.

    Both have 95% bootstrap intervals over users; a star marks a difference whose interval excludes 0.
    """
    return "\n\n".join(_tables(name, found) for name, found in results.protocols.items())


def _tables(protocol: str, found: ProtocolResults) -> str:
    metrics = columns(protocol, found)
    rows = [[model, *(cell(metric, row.get(metric)) for metric in metrics)] for model, row in found.models.items()]
    title = f"Protocol {protocol}: mean over users [95% bootstrap interval], shares in percent"
    text = _aligned(title, ["", *metrics], rows)
    if not found.differences:
        return text
    rows = [
        [model, *(_starred(metric, found.differences[model].get(metric)) for metric in metrics)]
        for model in found.models
        if model in found.differences
    ]
    title = f"Paired difference from the fair baseline, {found.baseline} (* the interval excludes 0)"
    return "\n\n".join([text, _aligned(title, ["", *metrics], rows), *found.advice])


def _starred(metric: str, paired: Estimate | None) -> str:
    return difference(metric, paired) + (" *" if verdict(metric, paired) not in ("", UNCLEAR) else "")


def _aligned(title: str, header: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([title, lines[0], "-" * max(map(len, lines)), *lines[1:]])

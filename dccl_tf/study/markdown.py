"""Tables of a study in Markdown: ours beside the paper's, then paired differences with their intervals."""

from collections.abc import Iterable, Sequence

from dccl_tf.report.numbers import difference, heading, scale
from dccl_tf.report.results import LOWER_IS_BETTER
from dccl_tf.study import paper
from dccl_tf.study.collect import Table
from dccl_tf.study.plans import Plan
from dccl_tf.study.statistics import Difference, Summary

PROTOCOLS = {
    "next": "Protocol `next`: the last item among 100 that the user never touched (`full`: among all)",
    "liked": "Protocol `liked`: which of the newest 20% were liked",
}


def table_section(plan: Plan, dataset: str, tables: Iterable[Table]) -> str:
    """A plan's tables as the body of a section of the page."""
    parts = [plan.note] if plan.note else []
    for table in tables:
        parts.append(f"**{PROTOCOLS[table.protocol]}**, {_seeds(table)}")
        parts.append(_means(plan, dataset, table))
        if table.differences:
            parts += [_differences(table), *_gain_of_paper(plan, dataset, table)]
    return "\n\n".join(parts)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside a cell would end it, so it is written out."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def cell(metric: str, found: Summary | None) -> str:
    """Mean and spread over seeds."""
    if found is None:
        return ""
    digits = 2 if scale(metric) == 100 else 4
    mean = f"{scale(metric) * found.mean:.{digits}f}"
    return mean if found.spread is None else f"{mean} ± {scale(metric) * found.spread:.{digits}f}"


def _means(plan: Plan, dataset: str, table: Table) -> str:
    best = {metric: _best(metric, table) for metric in table.metrics}
    several = len(_seeds_of_rows(table)) > 1
    rows = []
    for label, found in table.rows.items():
        row = [f"{label} ({seeds_in_words(next(iter(found.values())).seeds)})" if several else label]
        for metric in table.metrics:
            text = cell(metric, found.get(metric))
            text = f"**{text}**" if label in best[metric] else text
            theirs = plan.of_paper(dataset, plan.row(label), metric)
            row.append(text if theirs is None else f"{text} / {theirs:.2f}")
        rows.append(row)
    text = markdown_table(["", *map(heading, table.metrics)], rows)
    if any(plan.of_paper(dataset, plan.row(label), metric) for label in table.rows for metric in table.metrics):
        text += f"\n\nAfter the stroke: the paper's figure{f', on {plan.paper_data}' if plan.paper_data else ''}."
    return text


def _best(metric: str, table: Table) -> set[str]:
    """The best rows; none where they cannot be compared, since they are of other seeds."""
    means = {label: row[metric].mean for label, row in table.rows.items() if metric in row}
    if len(means) < 2 or len(_seeds_of_rows(table)) > 1:
        return set()
    winner = (min if metric in LOWER_IS_BETTER else max)(means.values())
    return {label for label, mean in means.items() if mean == winner}


def _differences(table: Table) -> str:
    metrics = [metric for metric in table.metrics if any(metric in found for found in table.differences.values())]
    rows = [
        [f"{ours} against {other}", *(_gain(metric, found.get(metric)) for metric in metrics)]
        for (ours, other), found in table.differences.items()
    ]
    return "Paired differences, bold where clear:\n\n" + markdown_table(["", *map(heading, metrics)], rows)


def _gain(metric: str, found: Difference | None) -> str:
    if found is None:
        return ""
    text = difference(metric, found.as_estimate())
    if found.clear:
        text = f"**{text}**"
    return text if found.relative is None else f"{text} ({100 * found.relative:+.2f}%)"


def _gain_of_paper(plan: Plan, dataset: str, table: Table) -> list[str]:
    if plan.name != "table2" or dataset not in plan.figures or table.protocol != "next":
        return []
    gains = zip(paper.METRICS, paper.IMPROVEMENT[dataset], strict=True)
    return [
        "The paper's DCCL is ahead of its best other method by "
        + ", ".join(f"{gain:.2f}% ({heading(metric)})" for metric, gain in gains)
        + "."
    ]


def _seeds(table: Table) -> str:
    """Over what the figures are: said once where all rows agree."""
    of_rows = _seeds_of_rows(table)
    counts = {
        metric: max(row[metric].users for row in table.rows.values() if metric in row) for metric in table.metrics
    }
    users = max(counts.values())
    sampled = min((count for metric, count in counts.items() if metric.endswith("/full")), default=users)
    if len(of_rows) == 1:
        words = seeds_in_words(*of_rows)
    else:
        words = f"{min(map(len, of_rows))} to {max(map(len, of_rows))} seeds a row"
    return f"{words}, {users:,} users" + (f" (full: a sample of {sampled:,})" if sampled < users else "")


def _seeds_of_rows(table: Table) -> set[tuple[int, ...]]:
    return {next(iter(row.values())).seeds for row in table.rows.values()}


def seeds_in_words(seeds: Sequence[int]) -> str:
    """How many, or which one."""
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"

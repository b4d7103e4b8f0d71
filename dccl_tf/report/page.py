"""Writes report.json, every figure of a run, and report.html, the same for people in one file without a network."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from dccl_tf.files import write_text
from dccl_tf.report import numbers, plots
from dccl_tf.report.results import LOWER_IS_BETTER, ProtocolResults, Results


def write_report(results: Results, folder: Path) -> Path:
    """Writes both files into `folder`, which is made if need be, and returns the page's path. What was there before
    stays until each is whole."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = json.dumps(jsonable(asdict(results)), indent=1, sort_keys=True, allow_nan=False)
    environment = Environment(
        loader=PackageLoader("dccl_tf.report", "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(name, found) for name, found in results.protocols.items()]
    page = environment.get_template("page.html").render(results=results, sections=sections)
    write_text(folder / "report.json", figures)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def jsonable(value: Any) -> Any:
    """Plain JSON types: NumPy's are converted, bytes become hex, a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one) for one in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _section(protocol: str, found: ProtocolResults) -> dict[str, Any]:
    """What the template shows of one protocol; a figure without data is None."""
    metrics = numbers.columns(protocol, found)
    return {
        "protocol": protocol,
        "found": found,
        "header": [_heading(metric, found) for metric in metrics],
        "rows": {model: [_cell(metric, model, found) for metric in metrics] for model in found.models},
        "verdicts": {
            model: numbers.verdict(found.metric, found.differences[model].get(found.metric))
            for model in found.models
            if model in found.differences
        },
        "activity": plots.activity(found.activity, found.metric) if found.activity else None,
        "vectors": plots.vector_map(found.vectors) if found.vectors else None,
        "curves": plots.curves(found.curves) if found.curves else None,
        "passed": sum(check["passed"] for check in found.bundle["checks"]),
    }


def _heading(metric: str, found: ProtocolResults) -> dict[str, Any]:
    """A column's name, how to read it and over how many users it is a mean; these are the same for every model."""
    estimate = next(row[metric] for row in found.models.values() if metric in row)
    order = "less is better" if metric in LOWER_IS_BETTER else "more is better"
    return {"metric": metric, "order": order, "users": estimate.users, "skipped": estimate.skipped}


def _cell(metric: str, model: str, found: ProtocolResults) -> dict[str, Any]:
    estimate = found.models[model].get(metric)
    paired = found.differences.get(model, {}).get(metric)
    return {
        "mean": numbers.mean(metric, estimate),
        "interval": numbers.interval(metric, estimate),
        "difference": numbers.difference(metric, paired),
        "verdict": numbers.verdict(metric, paired).split(" ")[0],  # a class of the style sheet: better, worse or no
        "best": model in numbers.best(metric, found),
    }

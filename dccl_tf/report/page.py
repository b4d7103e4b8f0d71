"""Writes report.json, every figure of a run, and report.html, the same for people in one file without a network."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from dccl_tf.report import plots
from dccl_tf.report.results import COLUMNS, LOWER_IS_BETTER, ProtocolResults, Results
from dccl_tf.report.table import cell


def write_report(results: Results, folder: Path) -> Path:
    """Writes both files and returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(jsonable(asdict(results)), indent=1, sort_keys=True))
    environment = Environment(
        loader=PackageLoader("dccl_tf.report", "."), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    page = environment.get_template("page.html").render(
        results=results, sections={name: _section(name, found) for name, found in results.protocols.items()}
    )
    path = folder / "report.html"
    path.write_text(page)
    return path


def jsonable(value: Any) -> Any:
    """Plain JSON types: NumPy's are converted, a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [jsonable(one) for one in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _section(protocol: str, found: ProtocolResults) -> dict[str, Any]:
    """What the template shows of one protocol."""
    columns = [metric for metric in COLUMNS[protocol] if all(metric in row for row in found.models.values())]
    best = {}
    for metric in columns:
        means = {model: row[metric].mean for model, row in found.models.items() if model != "oracle"}
        best[metric] = (min if metric in LOWER_IS_BETTER else max)(means, key=means.get)
    rows = []
    for model, row in found.models.items():
        cells = [(cell(metric, row[metric]), model == best[metric]) for metric in columns]
        differences = found.differences.get(model)
        rows.append((model, cells, [_signed(metric, differences[metric]) if differences else "" for metric in columns]))
    figures = {"activity": None, "vectors": None}
    if found.activity:
        figures["activity"] = Markup(plots.activity(found.activity, "DCCL-e", "DIN", found.metric))
    if found.vectors:
        figures["vectors"] = Markup(plots.vector_map(found.vectors))
    figures["curves"] = Markup(plots.curves(found.curves))
    return {"columns": columns, "rows": rows, "found": found, "figures": figures}


def _signed(metric: str, difference: Any) -> str:
    scale, digits = (1, 4) if metric.startswith("log_loss") else (100, 2)
    low, high = (f"{scale * value:+.{digits}f}" for value in (difference.low, difference.high))
    return f"{scale * difference.mean:+.{digits}f} [{low}, {high}]"

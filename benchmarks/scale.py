"""What the steps past one machine cost here, and from that what the paper's Taobao would need.

    python benchmarks/scale.py --folder=/tmp/scale                 all parts; those in the file of results are kept
    python benchmarks/scale.py --folder=/tmp/scale --parts=fleet   one part
    python benchmarks/scale.py --estimate                          the tables of docs/scale.md, from the results
    python benchmarks/scale.py --estimate --page=docs/scale.md     the same, put into their place there
    python benchmarks/scale.py --estimate --users=1e6 --samples=5e7 --cores=64    for other sizes

Each measurement runs in a process of its own. Memory is the largest sum, over a process and all that it started, of
proportional set sizes (shared pages are counted once); CPU time is of all of them, and on a machine that others use
says more than the clock does. A killed run goes on where it stopped.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from benchmarks import scale_work
from benchmarks.scale_estimate import Plan, tables

_FOLDER = flags.DEFINE_string("folder", None, "Where logs, models and vectors go; some gigabytes.")
_RESULTS = flags.DEFINE_string("results", str(Path(__file__).parents[1] / "results" / "scale.json"), "The figures.")
_PARTS = flags.DEFINE_list("parts", ["table", "uploads", "devices", "sequences", "fleet"], "Which to measure.")
_ROWS = flags.DEFINE_integer("rows", 20_000_000, "sequences: rows of the log.", lower_bound=1000)
_FLEETS = flags.DEFINE_list("fleets", ["10000", "100000", "1000000"], "fleet: numbers of devices.")
_DEVICES = flags.DEFINE_integer("devices", 300, "devices: interpreters, one after another.", lower_bound=1)
_UPLOADS = flags.DEFINE_integer("uploads", 20_000, "uploads: signed uploads into SQLite.", lower_bound=1)
_ITEMS = flags.DEFINE_integer("items", 1_000_000, "table: items.", lower_bound=1)
_ESTIMATE = flags.DEFINE_bool("estimate", False, "Print the tables instead of measuring.")
_PAGE = flags.DEFINE_string("page", None, "estimate: a Markdown file into which the tables go.")
_BEGIN, _END = "<!-- by benchmarks/scale.py --estimate -->", "<!-- end -->"
_WORK = flags.DEFINE_string("work", None, "A measurement's own process: its name and arguments as JSON.")
_PLAN = {
    "users": flags.DEFINE_float("users", 17e6, "estimate: users, each with a device."),
    "samples": flags.DEFINE_float("samples", 9e9, "estimate: interactions of all users."),
    "goods": flags.DEFINE_float("goods", 20e6, "estimate: items, V."),
    "batch": flags.DEFINE_float("batch", 1024.0, "estimate: samples of a step of training."),
    "epochs": flags.DEFINE_float("epochs", 1.0, "estimate: of the cloud's training over all samples."),
    "cores": flags.DEFINE_float("cores", 1000.0, "estimate: of the cluster."),
    "shipped": flags.DEFINE_float("shipped", 68e3, "estimate: items that a bundle knows."),
}


def main(argv: Sequence[str]) -> None:
    """Measures what is missing, or prints the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags alone, got {' '.join(argv[1:])}")
    results = Path(_RESULTS.value)
    if _WORK.value:
        name, arguments = json.loads(_WORK.value)
        print(json.dumps(getattr(scale_work, name)(**arguments)))
        return
    if _ESTIMATE.value:
        text = tables(json.loads(results.read_text()), Plan(**{name: flag.value for name, flag in _PLAN.items()}))
        print(text)
        if _PAGE.value:
            put(Path(_PAGE.value), text)
        return
    if not _FOLDER.value:
        raise app.UsageError("expected --folder")
    folder = Path(_FOLDER.value).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name, work, arguments in _measurements(folder):
        found = json.loads(results.read_text()) if results.exists() else {}
        if name in found:
            print(f"{name}: {found[name]} (from {results})")
            continue
        print(f"{name} ...", flush=True)
        figures = measure(work, arguments)
        found = json.loads(results.read_text()) if results.exists() else {}
        results.write_text(json.dumps(found | {name: figures}, indent=1) + "\n")
        print(f"{name}: {figures}", flush=True)


def put(page: Path, text: str) -> None:
    """Replaces what stands between a page's two marks."""
    before, _, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise app.UsageError(f"page: expected the lines {_BEGIN} and {_END} in {page}")
    page.write_text(f"{before}{_BEGIN}\n{text}\n{end}{after}")


def _measurements(folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, function of `scale_work` and its arguments."""
    every: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
        "sequences": [
            (f"sequences-{engine}", "sequences", {"folder": str(folder), "rows": _ROWS.value, "engine": engine})
            for engine in ("process", "spark")
        ],
        "fleet": [
            (f"fleet-{count}", "fleet", {"folder": str(folder), "devices": int(count)}) for count in _FLEETS.value
        ],
        "devices": [("devices", "devices", {"folder": str(folder), "count": _DEVICES.value})],
        "table": [("table", "table", {"folder": str(folder), "items": _ITEMS.value})],
        "uploads": [("uploads", "uploads", {"folder": str(folder), "count": _UPLOADS.value})],
    }
    for part in _PARTS.value:
        if part not in every:
            raise app.UsageError(f"parts: expected some of {', '.join(every)}, got {part}")
    return [one for part in _PARTS.value for one in every[part]]


def measure(work: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Runs a function of `scale_work` in a process of its own; adds its peak memory and the machine's load."""
    scale_work.prepare(work, **arguments)  # what it works on, where that is missing: not measured
    command = [sys.executable, __file__, f"--work={json.dumps([work, arguments])}"]
    peak, ticks, loads = 0, {}, [os.getloadavg()[0]]
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(command, stdout=output) as process:
        while process.poll() is None:
            members = _family(process.pid)
            ticks |= {pid: max(ticks.get(pid, 0), spent) for pid, spent in members.items()}
            peak = max(peak, sum(map(_proportional_bytes, members)))
            time.sleep(1.0)
        loads.append(os.getloadavg()[0])
        if process.returncode:
            raise SystemExit(f"{work}: ended with {process.returncode}; its error is above")
        output.seek(0)
        figures = json.loads(output.read().strip().splitlines()[-1])
    return (
        {"cpu_seconds": round(sum(ticks.values()) / os.sysconf("SC_CLK_TCK"), 1)}
        | figures
        | {
            "peak_bytes": peak,
            "load": round(float(np.mean(loads)), 1),
            "cores": os.cpu_count(),
        }
    )


def _family(pid: int) -> dict[int, int]:
    """A process and all that it started, with the clock ticks that each has spent."""
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}

    def note(number: int, text: str) -> None:
        fields = text.rsplit(")", 1)[1].split()  # after the name: state, parent, ..., user and system time
        children.setdefault(int(fields[1]), []).append(number)
        spent[number] = int(fields[11]) + int(fields[12])

    for status in Path("/proc").glob("[0-9]*/stat"):
        _read(status, partial(note, int(status.parent.name)))
    members, waiting = {}, [pid]
    while waiting:
        one = waiting.pop()
        members[one] = spent.get(one, 0)
        waiting += children.get(one, [])
    return members


def _proportional_bytes(pid: int) -> int:
    found: list[int] = []
    _read(
        Path(f"/proc/{pid}/smaps_rollup"),
        lambda text: found.extend(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")),
    )
    return sum(found)


def _read(path: Path, use: Callable[[str], Any]) -> None:
    """Uses a file of /proc, unless its process has just ended."""
    try:
        use(path.read_text())
    except OSError:
        return


if __name__ == "__main__":
    app.run(main)

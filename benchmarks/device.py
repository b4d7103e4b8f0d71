"""What a device costs, all of it in one run on this machine: size, memory and time, on one thread.

    python benchmarks/device.py [--runtime=tflite-runtime] [--stock_python=PYTHON] [--json=FILE]

Measures the DIN of device_model.py (68,000 items, history 50, K 32), which it exports first (that needs TensorFlow; or
give its bundle with --bundle). With --stock_python it runs the stock recipe beside it (device_stock_run.py says what
that environment needs). "raw" is the interpreter alone; what is beyond that is the device's own Python.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy: the arithmetic limit is that of one thread

import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed

from benchmarks import device_speed  # noqa: E402
from device_runtime import Bundle, Device, load_runtime  # noqa: E402

WIDTHS, BOTTLENECK = (64, 32, 32), 16  # of device_model.py

_RUNTIME = flags.DEFINE_string("runtime", "auto", "auto, tflite-runtime, ai-edge-litert or tensorflow.")
_BUNDLE = flags.DEFINE_string("bundle", None, "What device_model.py wrote; exported anew by default.")
_STOCK = flags.DEFINE_string("stock_python", None, "A Python with tensorflow-cpu 2.18.1, for the stock recipe.")
_REPEATS = flags.DEFINE_integer("repeats", 300, "Calls of which the median is taken.", lower_bound=3)
_QUICK = flags.DEFINE_bool("quick", False, "Leaves out what takes minutes: 20,000 steps and 500 openings.")
_JSON = flags.DEFINE_string("json", None, "Where to write all numbers as JSON.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    if len(argv) != 1:
        raise app.UsageError("expected flags alone")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = Path(_BUNDLE.value) if _BUNDLE.value else folder / "bundle"
        if not path.exists():
            _program("device_model.py", path)
        found = measure(path.resolve(), folder)
    _print(found)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(path: Path, folder: Path) -> dict[str, Any]:
    """All numbers, by part."""
    bundle, repeats = Bundle.open(path), _REPEATS.value
    runtime = load_runtime(bundle.model, _RUNTIME.value)
    raw = device_speed.signatures(runtime, bundle.manifest.items, repeats)
    memory = ["day", "next day"] if _QUICK.value else ["day", "next day", "steps", "openings"]
    return {
        "versions": {
            "runtime": f"{runtime.name} {runtime.version}",
            "python": sys.version.split()[0],
            "numpy": np.__version__,
        },
        "bytes": _bytes(bundle),
        "raw_ms": raw,
        "python": device_speed.python_layer(bundle, _RUNTIME.value, raw, repeats),
        "cache": device_speed.cache(bundle, _RUNTIME.value),
        "step": device_speed.limit(runtime, bundle, raw, WIDTHS, BOTTLENECK),
        "memory": {what: _memory(what, path, folder / "device") for what in memory},
        "stock": _stock(folder) if _STOCK.value else None,
    }


def _bytes(bundle: Bundle) -> dict[str, int]:
    """Sizes of a device that has learned."""
    with tempfile.TemporaryDirectory() as temporary:
        with Device.open(temporary, bundle, key=bytes(32), runtime=_RUNTIME.value) as device:
            device.log_many(bundle.vocabulary.ids[:100], [place % 2 for place in range(100)])
            device.personalize()
            upload = len(device.upload())
        state = Path(temporary, "state.bin").stat().st_size
    return {"model_bytes": len(bundle.model_bytes), "state_bytes": state, "upload_bytes": upload}


def _memory(what: str, bundle: Path, folder: Path) -> dict[str, float]:
    if what in ("day", "next day"):
        return _program("device_memory.py", "day", bundle, _RUNTIME.value, folder)
    return _program("device_memory.py", what, bundle, _RUNTIME.value)


def _stock(folder: Path) -> dict[str, float]:
    _program("device_stock.py", folder)
    return _program("device_stock_run.py", folder, 100, python=_STOCK.value)


def _program(name: str, *arguments: object, python: str = sys.executable) -> Any:
    """Runs a program beside this one; what it printed as JSON, if it did."""
    command = [python, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None


def _print(found: dict[str, Any]) -> None:
    ours, stock, raw, python = found["bytes"], found["stock"], found["raw_ms"], found["python"]
    cache, step, memory = found["cache"], found["step"], found["memory"]
    lines = [("runtime", ", ".join(f"{name} {value}" for name, value in found["versions"].items()))]
    if stock:
        lines.append(("", f"{'this':>14} {'stock':>14} {'ratio':>8}"))
        for name in ("state_bytes", "upload_bytes", "model_bytes"):
            lines.append((name.replace("_", " "), _beside(ours[name], stock[name], ",.0f")))
        lines.append(("peak MB", _beside(memory["next day"]["peak_mb"], stock["peak_mb"], ".1f")))
        lines.append(("train step ms", _beside(raw["train_encoded"], stock["train_ms"], ".3f")))
        lines.append(("infer ms", _beside(raw["infer"], stock["infer_ms"], ".3f")))
    else:
        lines += [(name.replace("_", " "), f"{value:,}") for name, value in ours.items()]
        lines.append(("stock recipe", "not run; see --stock_python"))
    lines += [(f"{name} ms", f"{value:.3f} raw") for name, value in raw.items()]
    lines.append(("rank", f"{python['rank_ms']:.3f} ms, of which Python {python['rank_python_us']:.0f} us"))
    lines.append(("step", f"{python['step_ms']:.3f} ms, of which Python {python['step_python_us']:.0f} us"))
    lines.append(("personalise", f"{cache['encoded_ms']:.1f} ms encoded, {cache['plain_ms']:.1f} ms from ids: "
                  f"{cache['ratio']:.1f} times; vectors within {cache['difference_of_vectors']:.0e}"))  # fmt: skip
    lines.append(("limit of a step", f"{step['limit_at_product_rate_ms']:.3f} ms for {step['multiply_adds']:,} "
                  f"multiply-adds; {step['products_ms']:.3f} with the basis at a vector's rate"))  # fmt: skip
    lines.append(("rest of a step", f"{step['call_ms']:.3f} ms a call, {step['rest_ms']:.3f} in {step['operators']} "
                  f"operators, {step['rest_us_per_operator']:.2f} us each"))  # fmt: skip
    for what in ("day", "next day"):
        one = memory[what]
        lines.append((f"memory, {what}", f"peak {one['peak_mb']:.1f} MB ({one['imported_mb']:.1f} after imports, "
                      f"{one['of_model_mb']:.1f} pages of the model file); {one['all_pages_peak_mb']:.1f} "
                      "once every page of it was met"))  # fmt: skip
    for what in ("steps", "openings"):
        if what in memory:
            lines.append((f"growth, {memory[what][what]:,} {what}", f"{memory[what]['growth_mb']:.2f} MB"))
    for name, value in lines:
        print(f"{name:24} {value}")


def _beside(ours: float, stock: float, form: str) -> str:
    return f"{ours:>14{form}} {stock:>14{form}} {stock / ours:>8,.1f}"


if __name__ == "__main__":
    app.run(main)

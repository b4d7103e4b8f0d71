"""What a bundle costs on this machine: size, memory and time, on one thread.

    python benchmarks/device.py BUNDLE [--runtime=tflite-runtime]

Times are medians in milliseconds. "raw" is the interpreter alone, the line below it what the device's own Python
adds: checks, ids, history, sorting.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from device_runtime import Bundle, Device, PersonalizeConfig, load_runtime

_RUNTIME = flags.DEFINE_string("runtime", "auto", "auto, tflite-runtime, ai-edge-litert or tensorflow.")
_REPEATS = flags.DEFINE_integer("repeats", 300, "Calls of which the median is taken.", lower_bound=3)


_DEVICE_ALONE = """
import pathlib, resource, sys
from device_runtime import Device
with Device.open(sys.argv[1], sys.argv[2], runtime=sys.argv[3]) as device:
    ids = device.bundle.vocabulary.ids[:320]
    device.log_many(ids, [place % 2 for place in range(len(ids))])
    device.personalize()
    device.rank(ids)
status = pathlib.Path("/proc/self/status")
if status.exists():  # Linux: ru_maxrss would count the process that started this one
    print(*[int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")])
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    if len(argv) != 2:
        raise app.UsageError("expected one BUNDLE")
    bundle = Bundle.open(argv[1])
    manifest = bundle.manifest
    runtime = load_runtime(bundle.model, _RUNTIME.value)
    rng = np.random.default_rng(0)
    inputs = {
        name: {key: _random(key, spec.shape, manifest.items, rng) for key, spec in signature.inputs.items()}
        for name, signature in runtime.signatures.items()
    }
    runtime.call("init", **inputs["init"])
    train = _median(lambda: runtime.call("train", **inputs["train"]))
    infer = _median(lambda: runtime.call("infer", **inputs["infer"]))
    evaluate = _median(lambda: runtime.call("evaluate", **inputs["evaluate"]))
    rank, step = _device_times(bundle, rng)
    print(f"bundle            {bundle.path}, {bundle.size / 1e6:.2f} MB (model {len(bundle.model_bytes) / 1e6:.2f} MB)")
    print(
        f"runtime           {runtime.name} {runtime.version}, Python {sys.version.split()[0]}, NumPy {np.__version__}"
    )
    print(f"sizes             V={manifest.items} T={manifest.history_length} K={manifest.metapatch_length}")
    print(f"peak memory       {_peak_megabytes(bundle.path):.1f} MB, a whole process that logs, trains and ranks")
    print(f"train step        {train:.3f} ms raw, {manifest.train_batch} rows")
    print(f"                  {step:.3f} ms in device.personalize()")
    print(f"infer             {infer:.3f} ms raw, {manifest.candidates} candidates")
    print(f"                  {rank:.3f} ms in device.rank()")
    print(f"evaluate          {evaluate:.3f} ms raw, {manifest.train_batch} rows")


def _device_times(bundle: Bundle, rng: np.random.Generator) -> tuple[float, float]:
    """Milliseconds of a ranking of C candidates and of a step of training, through `Device`."""
    manifest, ids = bundle.manifest, bundle.vocabulary.ids
    with tempfile.TemporaryDirectory() as folder, Device.open(folder, bundle, runtime=_RUNTIME.value) as device:
        items = [ids[place] for place in rng.integers(0, len(ids), 10 * manifest.train_batch)]
        device.log_many(items, rng.integers(0, 2, len(items)))
        candidates = [ids[place] for place in rng.integers(0, len(ids), manifest.candidates)]
        rank = _median(lambda: device.rank(candidates))
        ends = []
        device.personalize(
            PersonalizeConfig(epochs=max(1, _REPEATS.value // 10), heldout_fraction=0.0, learning_rate=0.001),
            on_step=lambda epoch, step, loss: ends.append(time.perf_counter()),
        )
        step = 1e3 * statistics.median(np.diff(ends))
    return rank, step


def _random(name: str, shape: tuple[int, ...], items: int, rng: np.random.Generator) -> np.ndarray:
    """Plausible values of an input; vectors, anchors and pulls are 0."""
    if name in ("history", "candidates"):
        return rng.integers(1, items + 1, shape, np.int32)
    if name in ("labels", "history_labels"):
        return rng.integers(0, 2, shape).astype(np.int32)
    if name == "profile":
        return np.zeros(shape, np.int32)
    settings = {"weights": 1.0, "gate": 1.0, "learning_rate": 0.001}
    return np.full(shape, settings.get(name, 0.0), np.float32)


def _median(call: Callable[[], object]) -> float:
    """Median milliseconds of a call, after some to warm up."""
    seconds = []
    for _ in range(_REPEATS.value + 10):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds[10:])


def _peak_megabytes(bundle: Path) -> float:
    """Peak memory of a device of its own process, this one's measuring tools left out."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _DEVICE_ALONE, folder, str(bundle.resolve()), _RUNTIME.value]
        output = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    return int(output.stdout.split()[-1]) / 1e6


if __name__ == "__main__":
    app.run(main)

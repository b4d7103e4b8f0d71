"""Memory of a device, each measure in a process of its own: `python benchmarks/device_memory.py WHAT BUNDLE RUNTIME`.

WHAT is `day` (logs, trains, ranks: peak, and what of it are pages of the model file, which the system may drop),
`steps` (growth over 20,000 training steps) or `openings` (growth over 500 openings of a device). Prints JSON.
"""

import gc
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from device_runtime import Device, PersonalizeConfig

_STATUS, _SMAPS = Path("/proc/self/status"), Path("/proc/self/smaps")


def of_process(field: str) -> float:
    """Megabytes of a field of /proc/self/status, such as VmHWM, the peak; NaN where there is no such file."""
    if not _STATUS.exists():
        return float("nan")
    return int(re.search(rf"^{field}:\s+(\d+)", _STATUS.read_text(), re.MULTILINE).group(1)) / 1000


def of_model() -> float:
    """Megabytes of resident pages that are the model file's."""
    if not _SMAPS.exists():
        return float("nan")
    mapped = re.findall(r"model\.tflite\n(?:.*\n)*?Rss:\s+(\d+)", _SMAPS.read_text())
    return sum(map(int, mapped)) / 1000


def day(folder: str, bundle: str, runtime: str) -> dict[str, float]:
    """The first day opens the bundle for the first time, which replays its golden calls; any other does not."""
    measured = {"imported_mb": of_process("VmRSS")}
    first = not (Path(folder) / "state.bin").exists()
    with Device.open(folder, bundle, runtime=runtime) as device:
        measured["opened_mb"] = of_process("VmRSS")
        ids = range(1000, 1320)  # of device_model.py
        if first:
            device.log_many(ids, [item % 2 for item in ids])
        device.personalize()
        device.rank(ids)
        measured |= {"peak_mb": of_process("VmHWM"), "of_model_mb": of_model()}
        for start in range(1000, 69_000, 6800):  # pages all over the item table
            device.rank(range(start, start + 6800, 68))
        return measured | {"all_pages_peak_mb": of_process("VmHWM"), "all_pages_of_model_mb": of_model()}


def steps(folder: str, bundle: str, runtime: str, count: int = 20_000) -> dict[str, float]:
    """Growth over `count` steps, after a thousand to warm up."""
    with Device.open(folder, bundle, runtime=runtime) as device:
        ids = range(1000, 1000 + 40 * device.bundle.manifest.train_batch)  # 40 steps an epoch
        device.log_many(ids, [item % 2 for item in ids])
        sizes = []
        config = PersonalizeConfig(epochs=(count + 1000) // 40, learning_rate=1e-4, heldout_fraction=0.0)
        device.personalize(
            config, on_step=lambda epoch, step, loss: sizes.append(of_process("VmRSS")) if step == 0 else None
        )
        return {"steps": 40 * (len(sizes) - 25), "growth_mb": sizes[-1] - sizes[25]}


def openings(folder: str, bundle: str, runtime: str, count: int = 500) -> dict[str, float]:
    """Growth over `count` openings, after twenty to warm up."""
    before = 0.0
    for number in range(count + 20):
        if number == 20:
            gc.collect()
            before = of_process("VmRSS")
        with Device.open(folder, bundle, runtime=runtime):
            pass
    gc.collect()
    return {"openings": count, "growth_mb": of_process("VmRSS") - before}


if __name__ == "__main__":
    what, bundle, runtime, *folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        measure = {"day": day, "steps": steps, "openings": openings}[what]
        print(json.dumps(measure(folder[0] if folder else temporary, bundle, runtime)))

"""Does this machine compute what the exporter's did, and how fast?"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device_runtime.bundle.bundle import Bundle
from device_runtime.bundle.goldens import GoldenResult, replay_goldens, to_array
from device_runtime.interpreter.runtime import Runtime, load_runtime

_REPEATS = 50


@dataclass(frozen=True)
class SelfTest:
    """What a test of one bundle on this machine found."""

    runtime: str
    cpu: str
    cores: int
    load_seconds: float  # until the model was ready
    outputs: list[GoldenResult]
    milliseconds: dict[str, float]  # median of a call of each signature, one thread

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        outputs = [one._asdict() | {"passed": one.passed} for one in self.outputs]
        return {"passed": self.passed} | asdict(self) | {"outputs": outputs}


def self_test(bundle: Bundle, runtime: str = "auto") -> SelfTest:
    """Replays the goldens of a bundle on a fresh interpreter and times its signatures.

    Raises:
      DeviceError: there is no runtime, or it cannot load the model.
    """
    began = time.perf_counter()
    loaded = load_runtime(bundle.model, runtime)
    seconds = time.perf_counter() - began
    return SelfTest(
        runtime=f"{loaded.name} {loaded.version}",
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        load_seconds=seconds,
        outputs=replay_goldens(bundle, loaded),
        milliseconds=_times(bundle, loaded),
    )


def _times(bundle: Bundle, runtime: Runtime) -> dict[str, float]:
    inputs: dict[str, dict[str, Any]] = {}
    for call in bundle.goldens.calls:
        inputs.setdefault(call.signature, {tensor.name: to_array(tensor) for tensor in call.inputs})
    return {name: _median(lambda name=name: runtime.call(name, **inputs[name])) for name in sorted(inputs)}


def _median(work: Callable[[], Any]) -> float:
    """Milliseconds of a call."""
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def _cpu() -> str:
    """The processor's name, where the system tells it, and its kind."""
    names = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return f"{(names or [platform.processor()])[0]} ({platform.machine()})".strip()

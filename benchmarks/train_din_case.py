"""What the programs of `train_din` share: the case, the clock and the answer. NumPy and the standard library alone."""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


class Case:
    """The samples and settings of one run."""

    def __init__(self, path: str) -> None:
        with np.load(path) as archive:
            self.arrays = {name: archive[name] for name in archive.files if name != "settings"}
            self.settings: dict[str, Any] = json.loads(str(archive["settings"]))

    def samples(self, prefix: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """History [N, T], candidate [N] and target [N], one row a sample."""
        history, candidates, targets = (
            self.arrays[f"{prefix}{name}"] for name in ("history", "candidates", "targets")
        )  # fmt: skip
        return np.repeat(history, candidates.shape[1], axis=0), candidates.ravel(), targets.ravel()

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The samples in the order of training, batch by batch."""
        columns = self.samples()
        size = self.settings["batch_samples"]
        for begin in range(0, len(columns[0]), size):
            yield tuple(column[begin : begin + size] for column in columns)

    def flops_of_activation_unit(self, attention: tuple[int, ...]) -> float:
        """Operations of the matrix products of a pass of a DIN with an activation unit of these widths: forward, and
        twice that backward."""
        width, length = self.settings["width"], self.settings["history_length"]
        unit = length * (products([4 * width, *attention, 1]) + width)
        head = products([3 * width, *self.settings["hidden"], 1])
        return 3 * 2 * (unit + head) * self.arrays["candidates"].size


def products(widths: list[int]) -> int:
    """Multiplications of a stack of fully connected layers."""
    return sum(a * b for a, b in itertools.pairwise(widths))


class Clock:
    """Wall and CPU seconds of each pass."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """Between two passes, before the first and after the last."""
        self.marks.append((time.perf_counter(), time.process_time()))

    def best(self, kind: int) -> float:
        """The shortest pass but for the first, which also compiles; kind 0 is wall time, 1 CPU time."""
        times = [mark[kind] for mark in self.marks]
        return min(b - a for a, b in itertools.pairwise(times[1:]))


def repeat(case: Case, train: Callable[[], float], logits: Callable[[], np.ndarray], flops: float) -> None:
    """Trains, judges, trains again against the clock and writes the figures (see `write`).

    Args:
      case: the samples.
      train: one pass over them, returns its mean loss.
      logits: of the held-out samples [N].
      flops: operations of the matrix products of a pass.
    """
    clock = Clock()
    clock.mark()
    loss = train()
    scores = logits()
    clock.mark()
    for _ in range(case.settings["repeats"]):
        train()
        clock.mark()
    write(case, clock, loss, scores, flops)


def write(case: Case, clock: Clock, loss: float, scores: np.ndarray, flops: float, **more: float) -> None:
    """The figures as JSON: what was measured, the loss of the first pass and of the held-out samples after it."""
    scores, targets = scores.astype(np.float64), case.arrays["test_targets"].ravel()
    figures = {
        "loss": loss,
        "test_loss": float(np.mean(np.logaddexp(0.0, scores) - targets * scores)),
        "seconds": clock.best(0),
        "cpu_seconds": clock.best(1),
        "positions": len(case.arrays["candidates"]),
        "samples": case.arrays["candidates"].size,
        "flops": flops,
        "peak_bytes": peak_bytes(),
    }
    Path(sys.argv[2]).write_text(json.dumps(figures | more))


def peak_bytes() -> int:
    """Peak memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss would count the process that started this one
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

"""What the fuzzer damages, by name."""

import ctypes
import random
import time
from collections.abc import Callable
from typing import Any

from benchmarks.faults import call_targets, file_targets
from benchmarks.faults.workshop import Accepted, Workshop
from device_runtime.bundle.bundle import MANIFEST


def run_case(workshop: Workshop, target: str, case: int) -> str:
    """Runs a case; the same case is the same damage on every machine."""
    return (TARGETS | CONTROLS)[target](workshop, random.Random(f"{target} {case}"))


TARGETS: dict[str, Callable[[Workshop, random.Random], str]] = {
    "state": file_targets.state,
    "checkpoint": file_targets.checkpoint,
    "manifest": file_targets.file_of_bundle(MANIFEST),
    "vocabulary": file_targets.file_of_bundle("vocabulary.pb"),
    "goldens": file_targets.file_of_bundle("goldens.pb"),
    "certificate": file_targets.file_of_bundle("certificate.json"),
    "model": file_targets.file_of_bundle("model.tflite"),
    "zip": file_targets.zipped,
    "database": file_targets.database,
    "small-files": file_targets.small_files,
    "receipts": call_targets.receipts,
    "arguments": call_targets.arguments,
    "tensors": call_targets.tensors,
}


def _crash(*_: Any) -> str:
    return str(ctypes.string_at(0))


def _hang(*_: Any) -> str:
    while True:
        time.sleep(1.0)


def _foreign(*_: Any) -> str:
    raise KeyError("an error that is not ours")


def _silence(*_: Any) -> str:
    raise Accepted("taken all the same")


# Faults made on purpose: does the fuzzer notice them?
CONTROLS: dict[str, Callable[[Workshop, random.Random], str]] = {
    "crash": _crash,
    "hang": _hang,
    "foreign error": _foreign,
    "accepted in silence": _silence,
}

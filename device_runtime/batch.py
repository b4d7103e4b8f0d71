"""Many devices, one after another, in a process of their own: for simulations and fleets of test devices.

    python -m device_runtime.batch BUNDLE [RUNTIME] < jobs > results

A job is a line of JSON and so is its result, in the same order:

    {"state": FOLDER, "device_id": "d1", "key": HEX, "profile": {...},       as for Device.open; profile may be absent
     "on_bundle_change": "rebase",                                           likewise; "rebase" by default
     "past": {"items": [...], "labels": [...]},                              goes into an empty history alone
     "events": [[item, label, [skipped, ...]], ...],                         logged as training samples
     "personalize": {...}}                                                   settings; absent: no training

    {"device_id": "d1", "vector": [...], "gate": 1.0, "report": {...}, "upload": BASE64, "opening": "first"}

TensorFlow and tflite-runtime do not share a process well (imported after TensorFlow, tflite-runtime 2.14 fails in
C++), so a program that uses TensorFlow runs its devices through this one.
"""

import base64
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from device_runtime.bundle.bundle import Bundle
from device_runtime.device import Device
from device_runtime.learning.personalize import PersonalizeConfig


def run_jobs(bundle: Bundle, jobs: Iterable[dict[str, Any]], runtime: str = "auto") -> Iterator[dict[str, Any]]:
    """Runs each job as it comes; raises DeviceError as `Device` does."""
    for job in jobs:
        with Device.open(
            job["state"],
            bundle,
            device_id=job["device_id"],
            key=bytes.fromhex(job["key"]),
            profile=job.get("profile"),
            runtime=runtime,
            on_bundle_change=job.get("on_bundle_change", "rebase"),
        ) as device:
            yield _live(device, job)


def _live(device: Device, job: dict[str, Any]) -> dict[str, Any]:
    past, events, settings = job.get("past"), job.get("events"), job.get("personalize")
    if past and not device.history_size:
        device.remember(past["items"], past.get("labels"))
    if events:
        items, labels, skipped = zip(*events, strict=True)
        device.log_many(items, labels, skipped)
    result: dict[str, Any] = {"device_id": device.device_id, "opening": device.opening.how}
    if settings is not None:
        result["report"] = device.personalize(PersonalizeConfig(**settings)).to_dict()
        result["upload"] = base64.b64encode(device.upload()).decode()
    return result | {"vector": device.vector.tolist(), "gate": device.gate}


def main() -> None:
    bundle, runtime = Bundle.open(sys.argv[1]), (sys.argv[2:] or ["auto"])[0]
    for result in run_jobs(bundle, map(json.loads, sys.stdin), runtime):
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

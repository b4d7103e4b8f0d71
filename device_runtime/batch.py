"""Many devices, one after another, in a process of their own: for simulations and fleets of test devices.

    python -m device_runtime.batch BUNDLE [RUNTIME] < jobs > results

A job is a line of JSON and so is its result, in the same order:

    {"state": FOLDER, "device_id": "d1", "key": HEX, "profile": {...},       as for Device.open; profile may be absent
     "on_bundle_change": "rebase",                                           likewise; "rebase" by default
     "past": {"items": [...], "labels": [...]},                              goes into an empty history alone
     "events": [[item, label, [skipped, ...]], ...],                         logged as training samples
     "personalize": {...}}                                                   settings; absent: no training

    {"device_id": "d1", "vector": [...], "gate": 1.0, "report": {...}, "upload": BASE64, "opening": "first"}

Ends with 0, or with 1 and one line on what was wrong; the jobs before it are done.

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
from device_runtime.errors import DeviceError, InputError
from device_runtime.learning.personalize import PersonalizeConfig

_NEEDED = {"state", "device_id", "key"}
_OPTIONAL = {"profile", "on_bundle_change", "past", "events", "personalize"}


def run_jobs(bundle: Bundle, jobs: Iterable[str], runtime: str = "auto") -> Iterator[dict[str, Any]]:
    """Runs each job, a line of JSON, as it comes; raises DeviceError as `Device` does, and for what is no job."""
    for number, line in enumerate(jobs, start=1):
        job = _job(number, line)
        with Device.open(
            job["state"],
            bundle,
            device_id=job["device_id"],
            key=job["key"],
            profile=job.get("profile"),
            runtime=runtime,
            on_bundle_change=job.get("on_bundle_change", "rebase"),
        ) as device:
            yield _live(device, job)


def _job(number: int, line: str) -> dict[str, Any]:
    """A job whose key is bytes and whose settings are made. Raises InputError."""
    try:
        job = json.loads(line)
        _check_names(job, _NEEDED, _OPTIONAL)
        if job.get("past"):
            _check_names(job["past"], {"items"}, {"labels"})
        events = [(item, label, skipped) for item, label, skipped in job.get("events") or ()]
        settings = job.get("personalize")
        made = None if settings is None else PersonalizeConfig(**settings)
        return job | {"key": bytes.fromhex(job["key"]), "events": events, "personalize": made}
    except (ValueError, TypeError) as error:  # such as a key that is not in hex
        raise InputError(f"job {number}: {error}") from error


def _check_names(given: dict[str, Any], needed: set[str], optional: set[str]) -> None:
    if wrong := (set(given) ^ needed) - optional:
        raise InputError(f"{min(wrong)} is missing or unknown")


def _live(device: Device, job: dict[str, Any]) -> dict[str, Any]:
    past, events, settings = job.get("past"), job.get("events"), job.get("personalize")
    if past and not device.history_size:
        device.remember(past["items"], past.get("labels"))
    if events:
        items, labels, skipped = zip(*events, strict=True)
        device.log_many(items, labels, skipped)
    result: dict[str, Any] = {"device_id": device.device_id, "opening": device.opening.how}
    if settings is not None:
        result["report"] = device.personalize(settings).to_dict()
        result["upload"] = base64.b64encode(device.upload()).decode()
    return result | {"vector": device.vector.tolist(), "gate": device.gate}


def main(arguments: list[str]) -> None:
    try:
        if len(arguments) not in (1, 2):
            raise InputError(f"expected BUNDLE [RUNTIME] and jobs on standard input, got {len(arguments)} arguments")
        for result in run_jobs(Bundle.open(arguments[0]), sys.stdin, *arguments[1:]):
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
    except DeviceError as error:
        sys.exit(f"device_runtime.batch: {error}")  # one line on standard error, and the exit code 1


if __name__ == "__main__":
    main(sys.argv[1:])

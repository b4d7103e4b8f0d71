"""A device's life in a process that will be killed: does what it is told, one line at a time, and says when it is done.

    python -m benchmarks.faults.killing_life STATE CLOUD BUNDLE... < actions > answers

An action is a line of JSON: {"do": "log", "first": 7, "count": 3}, {"do": "personalize"}, {"do": "upgrade", "to": 1},
{"do": "rollback"} or {"do": "upload"}. Its answer, a line of JSON, comes when the device has acknowledged it.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device_runtime import Device, DeviceError, PersonalizeConfig
from device_runtime.cloud.transport import Answer
from device_runtime.log.samples import LogLimits
from protos import dccl_pb2

KEY = b"k" * 32
LIMITS = LogLimits(samples=600, history=500)  # small enough for the log to be cut many times
CONFIG = PersonalizeConfig(epochs=6)


class CloudFile:
    """A collector in a file: bodies that it took, forced to the disk before they are acknowledged, as hex lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def bodies(self) -> list[bytes]:
        """Whole lines; one that a kill cut short was never acknowledged."""
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [bytes.fromhex(line) for line in lines if line.endswith("\n")]

    def post(self, body: bytes) -> Answer:
        bodies = self.bodies()
        with self.path.open("a") as file:
            file.write(("" if self._whole() else "\n") + body.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        status = dccl_pb2.Receipt.DUPLICATE if body in bodies else dccl_pb2.Receipt.ACCEPTED
        return Answer(200, dccl_pb2.Receipt(status=status, sequence=sequence(body)).SerializeToString())

    def _whole(self) -> bool:
        return not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")


def sequence(body: bytes) -> int:
    """The number of an upload."""
    return dccl_pb2.VectorUpload.FromString(dccl_pb2.SignedUpload.FromString(body).upload).sequence


def open_device(state: Path, bundle: Path | None = None) -> Device:
    """The device as it is, or a new one on a bundle."""
    return Device.open(state, bundle, device_id="d1", key=KEY, limits=LIMITS)


def main(state: str, cloud: str, *bundles: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what C++ prints is no answer

    def say(**facts: Any) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    with open_device(Path(state), None if (Path(state) / "state.bin").exists() else Path(bundles[0])) as device:
        say(done="open")
        for line in sys.stdin:
            action = json.loads(line)
            try:
                facts = ACTIONS[action["do"]](device, action, bundles, CloudFile(Path(cloud)))
            except DeviceError as error:
                facts = {"refused": str(error)}
            say(done=action["do"], vector=device.vector.tobytes().hex(), **facts)


def _log(device: Device, action: dict[str, Any], *_: Any) -> dict[str, Any]:
    """Interactions whose time is their number, so that each can be told from all others."""
    ids = device.bundle.vocabulary.ids
    numbers = range(action["first"], action["first"] + action["count"])
    device.log_many(
        [ids[number % len(ids)] for number in numbers],
        [number % 3 % 2 for number in numbers],
        [[ids[(number + 1) % len(ids)]] for number in numbers],
        list(numbers),
    )
    return {}


def _personalize(device: Device, *_: Any) -> dict[str, Any]:
    return {"steps": device.personalize(CONFIG).steps}


def _upgrade(device: Device, action: dict[str, Any], bundles: tuple[str, ...], *_: Any) -> dict[str, Any]:
    return {"how": device.upgrade(bundles[action["to"]], retry=True).how}


def _rollback(device: Device, *_: Any) -> dict[str, Any]:
    return {"how": device.rollback().how}


def _upload(device: Device, action: dict[str, Any], bundles: tuple[str, ...], cloud: CloudFile) -> dict[str, Any]:
    return {"sent": [delivery.status for delivery in device.send(cloud)]}


ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "log": _log,
    "personalize": _personalize,
    "upgrade": _upgrade,
    "rollback": _rollback,
    "upload": _upload,
}

if __name__ == "__main__":
    main(*sys.argv[1:])

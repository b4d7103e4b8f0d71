"""A sound device to make damaged copies of, and a day of its life that finds out whether it is still sound."""

import json
import shutil
from pathlib import Path

import numpy as np

from device_runtime import Bundle, Device, PersonalizeConfig, load_runtime
from device_runtime.cloud.delivery import Retries
from device_runtime.cloud.transport import Answer
from protos import dccl_pb2

KEY = b"k" * 32


class Accepted(Exception):
    """The device took something damaged, or an invariant no longer holds."""


class Workshop:
    """A sound bundle and the folder of a device that has lived on it, to make damaged copies of."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.bundle_path, self.folder = bundle, folder
        self.bundle = Bundle.open(bundle)
        self.ids = self.bundle.vocabulary.ids
        self.field, values = next(iter(self.bundle.vocabulary.fields.items()))
        self.profile = {self.field: values[0]}
        self.life = folder / "life"
        with self.device(self.life, self.bundle) as device:
            log(device, self.ids, 40)
            device.personalize()
        self.paused = self.fresh(self.life, "paused")  # the same device in the middle of its next training
        with self.device(self.paused, self.bundle) as device:
            log(device, self.ids, 10)
            device.personalize(PersonalizeConfig(max_steps=5))
        with self.device(self.fresh(self.paused, "finished"), self.bundle) as device:
            device.personalize()
            self.finished_vector = device.vector
        self.runtime = load_runtime(self.bundle.model)
        self._device: Device | None = None

    def device(self, folder: Path, bundle: Bundle | Path) -> Device:
        return Device.open(folder, bundle, device_id="d1", key=KEY, profile=self.profile)

    def fresh(self, source: Path, name: str) -> Path:
        """A copy in a place of its own, in place of the last one there."""
        copy = self.folder / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
        return copy

    @property
    def open_device(self) -> Device:
        """A device that many cases share; a new one where a case has broken the last."""
        if self._device is None:
            self._device = self.device(self.fresh(self.life, "shared"), self.bundle)
        return self._device

    def forget_device(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None


def log(device: Device, ids: list, count: int) -> None:
    items = [ids[number % len(ids)] for number in range(count)]
    device.log_many(items, [number % 2 for number in range(count)], timestamps=list(range(count)))


def lives(device: Device, ids: list) -> None:
    """A day of a device: every part of its state is used, and what comes out is finite."""
    device.log(ids[0], 1, ids[1:2])
    device.personalize(PersonalizeConfig(epochs=1))
    device.send(Post(), Retries(attempts=1))
    device.events()
    _, scores = device.rank(ids[:10], k=5)
    if not np.isfinite(scores).all() or not np.isfinite(device.vector).all() or not 0.0 <= device.gate <= 1.0:
        raise Accepted(f"scores {scores}, vector {device.vector}, gate {device.gate}")
    json.dumps(device.state)


class Post:
    """A cloud that accepts whatever comes, and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def post(self, body: bytes) -> Answer:
        self.bodies.append(body)
        return Answer(200, receipt_of(body).SerializeToString())


def receipt_of(body: bytes) -> dccl_pb2.Receipt:
    upload = dccl_pb2.VectorUpload.FromString(dccl_pb2.SignedUpload.FromString(body).upload)
    return dccl_pb2.Receipt(status=dccl_pb2.Receipt.ACCEPTED, sequence=upload.sequence)

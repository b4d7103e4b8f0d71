"""What the fuzzer damages, and what must hold when a device takes it all the same.

A target changes one thing, uses the device as an app would, and returns "accepted" or a word of its own; it raises what
the device raises, and `Accepted` where the device took what it had to refuse.
"""

import contextlib
import ctypes
import hashlib
import json
import random
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.mutations import damaged, hostile, hostile_json
from device_runtime import Bundle, Device, DeviceError, PersonalizeConfig, load_runtime, read_outline, replay_goldens
from device_runtime.bundle import HASHES, MANIFEST
from device_runtime.delivery import Retries
from device_runtime.goldens import to_array
from device_runtime.privacy import UploadNoise
from device_runtime.samples import LogLimits
from device_runtime.transport import Answer
from protos import dccl_pb2
from protos.signing import verify

KEY = b"k" * 32
DIGEST = 32


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


def run_case(workshop: Workshop, target: str, case: int) -> str:
    """Runs a case; the same case is the same damage on every machine."""
    return (TARGETS | CONTROLS)[target](workshop, random.Random(f"{target} {case}"))


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


def state(workshop: Workshop, chance: random.Random) -> str:
    """state.bin, damaged; half of the time with a checksum that agrees again."""
    folder = workshop.fresh(workshop.life, "device")
    how = _damage_record(folder / "state.bin", chance)
    with workshop.device(folder, workshop.bundle) as device:
        if how == "damaged":
            raise Accepted("a state whose checksum does not agree was opened")
        lives(device, workshop.ids)
    return how


def checkpoint(workshop: Workshop, chance: random.Random) -> str:
    """What an interrupted training left, damaged: whatever is no good of it is dropped, and the end is the same."""
    folder = workshop.fresh(workshop.paused, "device")
    how = _damage_record(folder / "training.bin", chance)
    with workshop.device(folder, workshop.bundle) as device:
        report = device.personalize()
        if how == "damaged" and not report.checkpoint_dropped:
            raise Accepted("a checkpoint whose checksum does not agree was used")
        if (how != "sealed" or report.checkpoint_dropped) and (device.vector != workshop.finished_vector).any():
            raise Accepted(f"after {report.checkpoint_dropped} the vector is {device.vector}")
        lives(device, workshop.ids)
    return f"{how}, dropped" if report.checkpoint_dropped else how


def _damage_record(file: Path, chance: random.Random) -> str:
    """Damages a file of the device's own layout. "sealed": its checksum agrees again."""
    before = file.read_bytes()
    if chance.random() < 0.5:
        file.write_bytes(damaged(before, chance))
        return "damaged" if file.read_bytes() != before else "unchanged"
    body = before[:-DIGEST]
    body = _other_json(body, chance) if chance.random() < 0.5 else damaged(body, chance)
    file.write_bytes(body + hashlib.sha256(body).digest())
    return "sealed" if file.read_bytes() != before else "unchanged"


def _other_json(body: bytes, chance: random.Random) -> bytes:
    """The record with one fact of another value."""
    begin = body.index(b"{")
    length = int.from_bytes(body[begin - 4 : begin], "little")
    facts = json.loads(body[begin : begin + length])
    inner = chance.choice([facts, *(value for value in facts.values() if isinstance(value, dict))])
    name = chance.choice([*inner, "unknown"])
    if chance.random() < 0.2:
        inner.pop(name, None)
    else:
        inner[name] = hostile_json(chance)
    text = json.dumps(facts).encode()
    return body[: begin - 4] + len(text).to_bytes(4, "little") + text + body[begin + length :]


def _file_of_bundle(name: str) -> Callable[[Workshop, random.Random], str]:
    """One file of a bundle, damaged; half of the time the manifest's hash of it agrees again."""

    def target(workshop: Workshop, chance: random.Random) -> str:
        folder = workshop.fresh(workshop.bundle_path, "bundle")
        before = (folder / name).read_bytes()
        after = _other_field(before, chance) if name == MANIFEST and chance.random() < 0.5 else damaged(before, chance)
        (folder / name).write_bytes(after)
        # The manifest has no hash of its own; a model with a hash that agrees is code, for which its sender must vouch.
        sealed = name == MANIFEST or (name != "model.tflite" and chance.random() < 0.5)
        if sealed and name != MANIFEST:
            manifest = dccl_pb2.Manifest.FromString((folder / MANIFEST).read_bytes())
            setattr(manifest, HASHES[name], hashlib.sha256(after).digest())
            (folder / MANIFEST).write_bytes(manifest.SerializeToString())
        if name == "model.tflite":
            with contextlib.suppress(DeviceError):
                read_outline(after)
        bundle = Bundle.open(folder)
        if after == before:
            return "unchanged"
        if not sealed:
            raise Accepted(f"{name} was opened with another hash than the manifest's")
        runtime = load_runtime(bundle.model)
        if not all(result.passed for result in replay_goldens(bundle, runtime)):
            return "goldens fail"
        shutil.rmtree(workshop.folder / "new", ignore_errors=True)
        with Device.open(workshop.folder / "new", bundle, key=KEY) as device:
            ids = bundle.vocabulary.ids
            lives(device, [ids[number % len(ids)] for number in range(12)])
        return "accepted, sealed"

    return target


def _other_field(content: bytes, chance: random.Random) -> bytes:
    """A manifest with another number in one place."""
    manifest = dccl_pb2.Manifest.FromString(content)
    message = chance.choice((manifest, manifest.training))
    fields = [field for field in message.DESCRIPTOR.fields if field.type in (field.TYPE_UINT32, field.TYPE_FLOAT)]
    field = chance.choice(fields)
    whole = (0, 1, 2, 3, 10**6, 2**31 - 2, 2**31 - 1, 2**32 - 1)
    broken = (0.0, -1.0, 1e30, 1e-30, 0.999, 1.0, float("nan"), float("inf"))
    setattr(message, field.name, chance.choice(whole if field.type == field.TYPE_UINT32 else broken))
    return manifest.SerializeToString()


def zipped(workshop: Workshop, chance: random.Random) -> str:
    """A bundle as a zip, damaged: it opens only if every file is as it was."""
    file = workshop.folder / "bundle.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [MANIFEST, *HASHES]:
            archive.write(workshop.bundle_path / name, name)
    file.write_bytes(damaged(file.read_bytes(), chance))
    if Bundle.open(file).identity != workshop.bundle.identity:
        raise Accepted("a damaged manifest was opened")
    return "every file as it was"


def database(workshop: Workshop, chance: random.Random) -> str:
    """samples.sqlite, damaged. SQLite keeps no checksums, so a changed value in a sound page may come out."""
    folder = workshop.fresh(workshop.life, "device")
    file = folder / "samples.sqlite"
    before = file.read_bytes()
    after = damaged(before, chance)
    file.write_bytes(after)
    with workshop.device(folder, workshop.bundle) as device:
        lives(device, workshop.ids)
    return "unchanged" if after == before else "accepted, values alone"


def small_files(workshop: Workshop, chance: random.Random) -> str:
    """Any other file of the state folder, damaged."""
    folder = workshop.fresh(workshop.life, "device")
    known = {"state.bin", "samples.sqlite", "training.bin", "lock"}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in known)
    file = chance.choice(files)
    file.write_bytes(damaged(file.read_bytes(), chance))
    with Device.open(folder) as device:
        lives(device, workshop.ids)
        signed = verify(dccl_pb2.SignedUpload.FromString(device.upload()), KEY)
        if not signed or device.device_id != "d1":
            return "another id or key, which the cloud refuses"
    return "of no consequence"


def receipts(workshop: Workshop, chance: random.Random) -> str:
    """What the cloud, or something between, answers an upload: it is settled by a receipt of its own alone."""
    folder = workshop.fresh(workshop.life, "device")
    with workshop.device(folder, workshop.bundle) as device:
        sound = receipt_of(device.upload())
        other = dccl_pb2.Receipt(
            status=chance.choice((0, 1, 2, 3, 4, 99)),
            reason=chance.choice((0, 1, 11, 99)),
            detail=chance.choice(("", "x" * 1000, "\0é")),
            sequence=chance.choice((0, 1, 2, 2**64 - 1)),
        )
        content = chance.choice((sound, sound, other)).SerializeToString()
        answer = Answer(
            status=chance.choice((200, 200, 200, 204, 302, 400, 401, 404, 408, 413, 429, 500, 503, 0, -1, 10**6)),
            body=damaged(content, chance) if chance.random() < 0.7 else content,
            content_type=chance.choice(("application/x-protobuf",) * 3 + ("text/html", "", "é")),
            retry_after=chance.choice((None, None, 0.0, 1.0, 1e9, -5.0)),
        )
        (delivery,) = device.send(_Answering(answer), Retries(attempts=1))
        if delivery.status == "accepted":
            read = dccl_pb2.Receipt.FromString(answer.body)
            if (read.status, read.sequence) != (dccl_pb2.Receipt.ACCEPTED, sound.sequence):
                raise Accepted(f"{answer} counts as accepted")
        lives(device, workshop.ids)
    return delivery.status


class _Answering:
    """A cloud that gives one answer to everything."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def post(self, _: bytes) -> Answer:
        return self.answer


def arguments(workshop: Workshop, chance: random.Random) -> str:
    """A call of the public interface, of whose arguments some are hostile. An error must leave the log as it was."""
    device = workshop.open_device
    name, sound = chance.choice(_calls(workshop))
    given = {key: hostile(chance) if chance.random() < 0.4 else value for key, value in sound.items()}
    before = device.state["log"]
    try:
        _call(workshop, device, name, given)
    except DeviceError:
        if device.state["log"] != before:
            raise Accepted(f"{name}({given!r:.500}) failed and changed the log") from None
        raise
    finally:
        try:
            if not np.isfinite(device.scores(workshop.ids[:3])).all():
                raise Accepted(f"{name}({given!r:.500}) left scores that are not finite")
            if device.state["log"]["history"] > 3000:
                workshop.forget_device()
        except BaseException:
            workshop.forget_device()
            raise
    return "accepted"


def tensors(workshop: Workshop, chance: random.Random) -> str:
    """A signature called with hostile arrays, by its name or another; the interpreter is as good as new afterwards."""
    call = chance.choice(workshop.bundle.goldens.calls)
    given = {tensor.name: to_array(tensor) for tensor in call.inputs}
    for name in [name for name in given if chance.random() < 0.4]:
        given[name] = _other_array(given[name], chance) if chance.random() < 0.5 else hostile(chance)
    if chance.random() < 0.1:
        given[chance.choice(("", "histroy", "gate", "vector"))] = hostile(chance)
    signature = hostile(chance) if chance.random() < 0.05 else call.signature
    runtime = workshop.runtime
    try:
        runtime.call(signature, **given)
    finally:
        runtime.call("reset", unused=np.zeros(1, np.float32))
        results = replay_goldens(workshop.bundle, runtime)
        if not all(result.passed for result in results):
            raise Accepted(f"after {signature}({given!r:.500}) the golden calls fail")
    return "accepted"


def _other_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    """The array with another value, shape or type."""
    change = chance.randrange(4)
    if change == 0:
        other = array.copy()
        other.flat[chance.randrange(other.size)] = chance.choice((-1, 2**31 - 1, -(2**31), 10**6, 21, 22))
        return other
    if change == 1:
        return np.resize(array, chance.choice([(), (0,), (1,), (600,), (*array.shape, 1), array.shape[::-1]]))
    if change == 2:
        return array.astype(chance.choice(("f8", "i8", "u1", "f2", "S1", "O", "c8", "?")))
    return np.asfortranarray(np.concatenate([array, array], -1))[..., ::2]


def _calls(workshop: Workshop) -> list[tuple[str, dict[str, Any]]]:
    """Public calls with sound arguments."""
    ids = workshop.ids[:4]
    one = {"item": ids[0], "label": 1, "skipped": ids[1:3], "timestamp": 5}
    many = {"items": ids, "labels": [1, 0, 1, 0], "skipped": [[], [], [], []], "timestamps": [1, 2, 3, 4]}
    config = {"learning_rate": 0.01, "epochs": 1, "pull": 1.0, "heldout_fraction": 0.2, "gate_margin": 0.0}
    config |= {"negatives": 1, "seed": 3, "patience": 2, "max_seconds": 1.0, "max_steps": 3}
    limits = {"samples": 1000, "days": None, "history": 1000, "met": 1000}
    noise = {"clip_norm": 1.0, "noise_multiplier": 0.5}
    return [
        ("log", one),
        ("log_many", many),
        ("remember", {name: many[name] for name in ("items", "labels", "timestamps")}),
        ("scores", {"candidates": ids, "gate": 1.0}),
        ("rank", {"candidates": ids, "k": 2, "gate": 0.5, "exclude_history": True}),
        ("personalize", config),
        ("upgrade", {"bundle": workshop.bundle_path, "on_bundle_change": "keep", "retry": True}),
        ("prune", {"keep": 10}),
        ("events", {"newest": 5}),
        ("send", {"to": _Answering(Answer(200, b"")), "retries": Retries(attempts=1)}),
        ("reset", {"forget_user": False}),
        ("acknowledge", {"receipt": b""}),
        ("limits", limits),
        ("noise", noise),
        ("open", {"device_id": "d1", "key": KEY, "profile": workshop.profile, "on_damage": "error"}),
    ]


def _call(workshop: Workshop, device: Device, name: str, given: dict[str, Any]) -> None:
    if name == "personalize":
        steps = iter(range(5))
        device.personalize(PersonalizeConfig(**given), should_stop=lambda: next(steps, None) is None)
    elif name in ("limits", "noise"):
        made = LogLimits(**given) if name == "limits" else UploadNoise(**given)
        with Device.open(workshop.fresh(workshop.life, "new"), **{name: made}) as other:
            lives(other, workshop.ids)
    elif name == "open":
        shutil.rmtree(workshop.folder / "new", ignore_errors=True)
        with Device.open(workshop.folder / "new", workshop.bundle, **given) as other:
            lives(other, workshop.ids)
    else:
        result = getattr(device, name)(**given)
        scores = result[1] if name == "rank" else result
        if name in ("rank", "scores") and not np.isfinite(scores).all():
            raise Accepted(f"{name}({given!r:.500}) gave {scores}")


TARGETS: dict[str, Callable[[Workshop, random.Random], str]] = {
    "state": state,
    "checkpoint": checkpoint,
    "manifest": _file_of_bundle(MANIFEST),
    "vocabulary": _file_of_bundle("vocabulary.pb"),
    "goldens": _file_of_bundle("goldens.pb"),
    "certificate": _file_of_bundle("certificate.json"),
    "model": _file_of_bundle("model.tflite"),
    "zip": zipped,
    "database": database,
    "small-files": small_files,
    "receipts": receipts,
    "arguments": arguments,
    "tensors": tensors,
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

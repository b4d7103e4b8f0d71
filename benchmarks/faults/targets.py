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
from device_runtime.goldens import to_array
from protos import dccl_pb2

KEY = b"k" * 32
DIGEST = 32


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
    _, scores = device.rank(ids[:10], k=5)
    if not np.isfinite(scores).all() or not np.isfinite(device.vector).all() or not 0.0 <= device.gate <= 1.0:
        raise Accepted(f"scores {scores}, vector {device.vector}, gate {device.gate}")
    json.dumps(device.state)


def state(workshop: Workshop, chance: random.Random) -> str:
    """state.bin, damaged; half of the time with a checksum that agrees again."""
    folder = workshop.fresh(workshop.life, "device")
    file = folder / "state.bin"
    before = file.read_bytes()
    sealed = chance.random() < 0.5
    if sealed:
        body = before[:-DIGEST]
        body = _other_json(body, chance) if chance.random() < 0.5 else damaged(body, chance)
        after = body + hashlib.sha256(body).digest()
    else:
        after = damaged(before, chance)
    file.write_bytes(after)
    with workshop.device(folder, workshop.bundle) as device:
        if not sealed and after != before:
            raise Accepted("a state whose checksum does not agree was opened")
        lives(device, workshop.ids)
    return "unchanged" if after == before else "accepted, sealed"


def _other_json(body: bytes, chance: random.Random) -> bytes:
    """The state with one fact of another value."""
    begin = body.index(b"{")
    length = int.from_bytes(body[begin - 4 : begin], "little")
    facts = json.loads(body[begin : begin + length])
    inner = facts["evidence"] if chance.random() < 0.2 else facts
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
        after = damaged(before, chance)
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
        with Device.open(workshop.folder / "new", bundle) as device:
            ids = bundle.vocabulary.ids
            lives(device, [ids[number % len(ids)] for number in range(12)])
        return "accepted, sealed"

    return target


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
    known = {"state.bin", "samples.sqlite", "lock"}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in known)
    file = chance.choice(files)
    file.write_bytes(damaged(file.read_bytes(), chance))
    with Device.open(folder, workshop.bundle) as device:
        lives(device, workshop.ids)
    return "accepted"


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
    config |= {"negatives": 1, "seed": 3, "patience": 2}
    return [
        ("log", one),
        ("log_many", many),
        ("remember", {name: many[name] for name in ("items", "labels", "timestamps")}),
        ("scores", {"candidates": ids, "gate": 1.0}),
        ("rank", {"candidates": ids, "k": 2, "gate": 0.5, "exclude_history": True}),
        ("personalize", config),
        ("upgrade", {"bundle": workshop.bundle_path, "on_bundle_change": "keep"}),
        ("prune", {"keep": 10}),
        ("open", {"device_id": "d1", "key": KEY, "profile": workshop.profile, "on_damage": "error"}),
    ]


def _call(workshop: Workshop, device: Device, name: str, given: dict[str, Any]) -> None:
    if name == "personalize":
        steps = iter(range(5))
        device.personalize(PersonalizeConfig(**given), should_stop=lambda: next(steps, None) is None)
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
    "manifest": _file_of_bundle(MANIFEST),
    "vocabulary": _file_of_bundle("vocabulary.pb"),
    "goldens": _file_of_bundle("goldens.pb"),
    "certificate": _file_of_bundle("certificate.json"),
    "model": _file_of_bundle("model.tflite"),
    "zip": zipped,
    "database": database,
    "small-files": small_files,
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

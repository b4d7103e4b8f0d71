"""Files that are damaged: a device's own, and those of a bundle.

A target changes one thing, uses the device as an app would, and returns what became of it; it raises what the device
raises, and `Accepted` where the device took what it had to refuse.
"""

import contextlib
import hashlib
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.mutations import damaged, hostile_json
from benchmarks.faults.workshop import KEY, Accepted, Workshop, lives
from device_runtime import Bundle, Device, DeviceError, load_runtime, read_outline, replay_goldens
from device_runtime.bundle.bundle import HASHES, MANIFEST
from protos import dccl_pb2
from protos.signing import verify

DIGEST = 32  # bytes of the checksum at the end of a device's own files


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


def file_of_bundle(name: str) -> Callable[[Workshop, random.Random], str]:
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

"""Arguments, tensors and answers of the cloud that are hostile; see `file_targets` for what a target is."""

import random
import shutil
from typing import Any

import numpy as np

from benchmarks.faults.mutations import damaged, hostile
from benchmarks.faults.workshop import KEY, Accepted, Workshop, lives, receipt_of
from device_runtime import Device, DeviceError, PersonalizeConfig, replay_goldens
from device_runtime.bundle.goldens import to_array
from device_runtime.cloud.delivery import Retries
from device_runtime.cloud.privacy import UploadNoise
from device_runtime.cloud.transport import Answer
from device_runtime.log.samples import LogLimits
from protos import dccl_pb2


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

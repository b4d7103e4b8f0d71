"""The commands of `dccl-device`: each takes the words after its name and gives facts for JSON and text for people."""

import datetime
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from device_runtime import (
    Device,
    HttpTransport,
    InputError,
    Retries,
    change_key,
    fetch_bundle,
    read_operators,
    register,
)
from device_runtime.bundle.goldens import worst_of_each
from device_runtime.bundle.self_test import self_test as run_self_test
from device_runtime.bundle.vocabulary import Vocabulary
from device_runtime.log.interactions import interactions
from device_runtime.state.files import remove_file
from device_runtime.state.folder import StateFolder
from scripts import flags_device as values


class Answer(NamedTuple):
    """What a command found."""

    facts: dict[str, Any]
    text: str
    good: bool = True  # False: the program ends with 1
    note: str = ""  # for people alone, on standard error: what should not pass silently


def inspect(arguments: list[str]) -> Answer:
    bundle = values.bundle(arguments)
    manifest = bundle.manifest
    return _table(
        {
            "identity": bundle.identity.hex(),
            "parent": manifest.parent.hex(),
            "protocol": manifest.protocol,
            "metapatch_length": manifest.metapatch_length,
            "history_length": manifest.history_length,
            "candidates": manifest.candidates,
            "train_batch": manifest.train_batch,
            "items": manifest.items,
            "history_labels": manifest.history_labels,
            "profile": bundle.vocabulary.fields,
            "training": {field.name: value for field, value in manifest.training.ListFields()},
            "precision": manifest.precision,
            "oldest_runtime": manifest.oldest_runtime,
            "model_bytes": len(bundle.model_bytes),
            "bundle_bytes": bundle.size,
            "operators": {use.name: use.version for use in read_operators(bundle.model)},
        }
    )


def self_test(arguments: list[str]) -> Answer:
    found = run_self_test(values.bundle(arguments), values.RUNTIME.value)
    lines = [
        f"{'ok  ' if one.passed else 'FAIL'} {one.signature:16} differs by {one.difference:.1e}, at most "
        f"{one.tolerance:.0e}; {found.milliseconds[one.signature]:.3f} ms a call"
        for one in worst_of_each(found.outputs)
    ]
    verdict = f"{'passed' if found.passed else 'FAILED'}: {len(found.outputs)} golden outputs"
    lines.append(f"{verdict} on {found.runtime}, {found.cpu}; loaded in {1e3 * found.load_seconds:.1f} ms")
    return Answer(found.to_dict(), "\n".join(lines), found.passed)


def register_device(arguments: list[str]) -> Answer:
    _of_folder_and_collector("register", arguments)
    device_id = register(
        values.STATE.value,
        values.URL.value,
        values.DEVICE_ID.value,
        values.token(),
        insecure=values.INSECURE.value,
        or_new_id=values.OR_NEW_ID.value,
    )
    return Answer({"device_id": device_id}, f"registered as {device_id}; the key is in {values.STATE.value}")


def change_key_of_device(arguments: list[str]) -> Answer:
    _of_folder_and_collector("change-key", arguments)
    change_key(values.STATE.value, values.URL.value, insecure=values.INSECURE.value)
    return Answer({"changed": True}, f"the key in {values.STATE.value} is a new one")


def _of_folder_and_collector(command: str, arguments: list[str]) -> None:
    _no_arguments(command, arguments)
    if not (values.URL.value and values.STATE.value):
        raise InputError(f"{command}: expected --url=URL and --state=PATH")


def log(arguments: list[str]) -> Answer:
    if values.EVENTS.value is not None and (values.LABEL.present or values.SKIPPED.present):
        raise InputError("log: expected label and skipped in the lines of --events, got --label or --skipped beside it")
    with values.device() as device:
        if values.EVENTS.value is not None:
            if arguments:
                raise InputError(f"log: expected one ITEM or --events=FILE, got both, {arguments[0]} and a file")
            events = list(_events(values.EVENTS.value))
            try:
                _log_events(device, [event for _, event in events])
            except InputError:
                for line, event in events:
                    _check_event(device.bundle.vocabulary, f"events: {values.EVENTS.value} line {line}", event)
                raise
            count = len(events)
        elif len(arguments) == 1:
            vocabulary = device.bundle.vocabulary
            skipped = [values.skipped_item(vocabulary, text) for text in values.SKIPPED.value]
            device.log(vocabulary.parse(arguments[0]), values.LABEL.value, skipped)
            count = 1
        else:
            raise InputError(f"log: expected one ITEM or --events=FILE, got {len(arguments)} items")
        state = device.state
    facts = {"logged": count, "unknown": state["counts"].get("unknown_logged", 0), "log": state["log"]}
    text = f"logged {count}; the history now has {facts['log']['history']} interactions"
    return Answer(facts, text, note=_unknown(facts["unknown"], count))


def _log_events(device: Device, events: list[dict[str, Any]]) -> None:
    device.log_many(
        [event["item"] for event in events],
        [event.get("label", 1) for event in events],
        [event.get("skipped", ()) for event in events],
        [event["timestamp"] for event in events] if events and "timestamp" in events[0] else None,
    )


def _check_event(vocabulary: Vocabulary, where: str, event: dict[str, Any]) -> None:
    """Raises InputError that names the line of the file if one event by itself is not as it should be."""
    times = [event["timestamp"]] if "timestamp" in event else None
    try:
        interactions(vocabulary, [event["item"]], [event.get("label", 1)], [event.get("skipped", ())], times, 0)
    except InputError as error:
        problem = str(error).replace(" (row 0)", "").removesuffix(" at position 0")
        raise InputError(f"{where}: {problem}") from error


def rank(arguments: list[str]) -> Answer:
    if values.TOP.value is not None and values.TOP.value < 1:
        raise InputError(f"top: expected a whole number of at least 1, got {values.TOP.value}")
    with values.device() as device:
        vocabulary = device.bundle.vocabulary
        candidates = [vocabulary.parse(item) for item in arguments] or vocabulary.ids
        items, scores = device.rank(candidates, values.TOP.value, values.GATE.value, values.NEW_ONLY.value)
        gate = device.gate if values.GATE.value is None else values.GATE.value
        counts = device.state["counts"]
    ranking = [{"item": item, "score": float(score)} for item, score in zip(items, scores, strict=True)]
    facts = {"gate": gate, "unknown": counts.get("unknown_ranked", 0), "ranking": ranking}
    text = "\n".join(f"{one['item']}\t{one['score']:.4f}" for one in ranking)
    return Answer(facts, text, note=_unknown(facts["unknown"], counts["ranked"]))


def _unknown(count: int, of: int) -> str:
    return f"the bundle does not know {count} of the {of} items" if count else ""


def personalize(arguments: list[str]) -> Answer:
    _no_arguments("personalize", arguments)
    config, asked = values.settings(), threading.Event()

    def stop(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one does not wait for the step to end

    with values.device() as device:
        signal.signal(signal.SIGINT, stop)
        report = device.personalize(config, should_stop=asked.is_set)
    if asked.is_set() and report.interrupted:
        raise KeyboardInterrupt
    return _table(report.to_dict())


def upload(arguments: list[str]) -> Answer:
    _no_arguments("upload", arguments)
    if bool(values.URL.value) == bool(values.OUTPUT.value):
        raise InputError("upload: expected either --url=URL or --output=FILE")
    with values.device() as device:
        if device.state["newest_upload_has_noise"] and values.noise() is None and not values.EXACT.value:
            raise InputError(
                "upload: expected --clip_norm and --noise_multiplier, since the upload before had noise, got neither; "
                "--exact sends the vector as it is"
            )
        if values.OUTPUT.value:
            return _written(device.upload(), device.state["sequence"], values.OUTPUT.value)
        transport = HttpTransport(values.URL.value, headers=values.headers(), insecure=values.INSECURE.value)
        deliveries = device.send(transport, Retries(values.ATTEMPTS.value))
    lines = [
        f"upload {one.sequence}: {one.status}{f' ({one.detail})' if one.detail else ''}; "
        f"{one.attempts} attempts, {one.sent} bytes sent, {one.received} received"
        for one in deliveries
    ]
    good = not any(one.status in ("rejected", "queued") for one in deliveries)
    facts = {"delivered": good, "uploads": [one.to_dict() for one in deliveries]}
    return Answer(facts, "\n".join(lines) or "nothing new to send", good)


def _written(body: bytes, sequence: int, path: str) -> Answer:
    try:
        Path(path).write_bytes(body)
    except OSError as error:
        raise InputError(f"output: cannot write {path} ({error.strerror})") from error
    facts = {"output": path, "bytes": len(body), "sequence": sequence}
    return Answer(facts, f"wrote upload {sequence} of {len(body)} bytes to {path}; it also waits for --url")


def upgrade(arguments: list[str]) -> Answer:
    if len(arguments) + bool(values.URL.value) != 1:
        raise InputError(f"upgrade: expected one BUNDLE or --url=URL, got {len(arguments)} and {values.URL.value}")
    if values.needs_bundle():
        return _begin_with(Path(arguments[0])) if arguments else _begin()
    with values.device() as device:
        if arguments:
            return _table(device.upgrade(arguments[0], values.ON_BUNDLE_CHANGE.value, values.RETRY.value).to_dict())
        refused = {} if values.RETRY.value else device.refused
        with _newest(device.device_id, device.bundle.identity, refused) as bundle:
            if bundle is None:
                return Answer({"how": None}, "the bundle in use is the newest that there is for this device")
            return _table(device.upgrade(bundle, values.ON_BUNDLE_CHANGE.value, values.RETRY.value).to_dict())


def _begin() -> Answer:
    """The collector's bundle for a device that has none, or a damaged one."""
    with closing(StateFolder(values.STATE.value)) as folder:
        device_id = folder.identity.identify(values.DEVICE_ID.value)
    with _newest(device_id) as bundle:
        if bundle is None:
            return Answer({"how": None}, "the collector has no bundle for this device yet")
        return _begin_with(bundle)


def _begin_with(bundle: Path) -> Answer:
    with values.device(bundle) as device:
        return _table(device.opening.to_dict())


@contextmanager
def _newest(device_id: str, holding: bytes = b"", refused: Mapping[bytes, str] | None = None) -> Iterator[Path | None]:
    """What the collector has for this device, until the device has its own copy or has refused it. A download that
    broke off goes on in the next call."""
    path = Path(values.STATE.value) / "download.zip"
    insecure = values.INSECURE.value
    try:
        yield fetch_bundle(values.URL.value, path, device_id, holding, insecure=insecure, refused=refused)
    finally:
        remove_file(path)


def rollback(arguments: list[str]) -> Answer:
    _no_arguments("rollback", arguments)
    with values.device() as device:
        return _table(device.rollback().to_dict())


def reset(arguments: list[str]) -> Answer:
    _no_arguments("reset", arguments)
    with values.device() as device:
        device.reset(values.FORGET_USER.value)
        facts = {"gate": device.gate, "log": device.state["log"]}
    return Answer(facts, f"begun again; the history has {facts['log']['history']} interactions")


def status(arguments: list[str]) -> Answer:
    _no_arguments("status", arguments)
    with values.device() as device:
        return _table(device.state)


def events(arguments: list[str]) -> Answer:
    _no_arguments("events", arguments)
    with values.device() as device:
        found = device.events(values.NEWEST.value)
    lines = [
        f"{datetime.datetime.fromtimestamp(one.time).isoformat(' ')}  {one.kind:11}  {_cell(one.facts)}"
        for one in found
    ]
    return Answer({"events": [one.to_dict() for one in found]}, "\n".join(lines))


def privacy(arguments: list[str]) -> Answer:
    _no_arguments("privacy", arguments)
    noise = values.noise()
    if noise is None:
        raise InputError("privacy: expected --clip_norm and --noise_multiplier, got none")
    epsilon = noise.epsilon(values.UPLOADS.value, values.DELTA.value)
    facts = {
        "epsilon": epsilon,
        "delta": values.DELTA.value,
        "uploads": values.UPLOADS.value,
        "deviation": noise.deviation,
    }
    text = (
        f"noise of {noise.deviation:.4g} on each float of a vector cut to norm {noise.clip_norm:.4g}: "
        f"{facts['uploads']} uploads are ({epsilon:.3g}, {facts['delta']:.1g})-differentially private"
    )
    return Answer(facts, text)


COMMANDS: dict[str, Callable[[list[str]], Answer]] = {
    "inspect": inspect,
    "self-test": self_test,
    "register": register_device,
    "change-key": change_key_of_device,
    "log": log,
    "rank": rank,
    "personalize": personalize,
    "upload": upload,
    "upgrade": upgrade,
    "rollback": rollback,
    "reset": reset,
    "status": status,
    "events": events,
    "privacy": privacy,
}


def finite(value: Any) -> Any:
    """Facts with null for what JSON has no number for, such as the loss of a vector that went astray."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _events(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the line and JSON object of each event in a file; each has its item, and all a timestamp or none."""
    try:
        lines = (sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"events: cannot read {path} ({error})") from error
    first = None  # line with an event, and whether that has a timestamp
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"events: {path} line {number}: not JSON ({error})") from error
        unknown = set(event) - {"item", "label", "skipped", "timestamp"} if isinstance(event, dict) else {"no object"}
        if unknown or "item" not in event:
            raise InputError(
                f"events: {path} line {number}: expected an object with item and, if need be, label, skipped and "
                f"timestamp, got {line[:80]}"
            )
        first = first or (number, "timestamp" in event)
        if ("timestamp" in event) != first[1]:
            expected, got = ("a", "none") if first[1] else ("no", "one")
            raise InputError(
                f"events: {path} line {number}: expected {expected} timestamp, as in line {first[0]}, got {got}; "
                "give one in all lines or in none"
            )
        yield number, event


def _no_arguments(command: str, arguments: list[str]) -> None:
    if arguments:
        raise InputError(f"{command}: expected no further words, got {' '.join(arguments)}")


def _table(facts: dict[str, Any]) -> Answer:
    width = max(map(len, facts))
    return Answer(facts, "\n".join(f"{name:{width}}  {_cell(value)}" for name, value in facts.items()))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and value:
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)) and value:
        return " ".join(_cell(one) for one in value)
    return "-" if value is None or value in ("", [], (), {}) else str(value)

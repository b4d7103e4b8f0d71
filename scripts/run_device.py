"""A device on the command line: logs clicks, ranks, personalises itself, uploads. Needs no TensorFlow.

  dccl-device inspect BUNDLE                       what a bundle holds
  dccl-device self-test BUNDLE                     does this machine compute what the exporter did?
  dccl-device log ITEM [--label=0] [--skipped=A,B] one interaction; or --events=FILE, one JSON object a line:
                                                   {"item": 1193, "label": 1, "skipped": [661], "timestamp": 978300760}
  dccl-device rank [ITEM ...]                      the items, best first; all of the bundle's without ITEM
  dccl-device personalize                          trains the device's vector on what was logged
  dccl-device upload --output=FILE                 the signed vector, ready to POST
  dccl-device status                               what the device knows of itself

All but the first two take --bundle and --state, the device's own folder, which is made on first use:

  dccl-device log 1193 --skipped=661,914 --bundle=bundle --state=device --profile=age=25-34,gender=F
  dccl-device personalize --bundle=bundle --state=device
  dccl-device rank --top=10 --new_only --bundle=bundle --state=device

Ends with 0, or with 1 and one line on what was wrong. --json prints one JSON object instead of text.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags

from device_runtime import (
    Bundle,
    Device,
    DeviceError,
    InputError,
    PersonalizeConfig,
    load_runtime,
    read_operators,
    replay_goldens,
)
from scripts import programs

_BUNDLE = flags.DEFINE_string("bundle", None, "Folder or zip of the bundle.")
_STATE = flags.DEFINE_string("state", None, "The device's own folder; made if absent.")
_RUNTIME = flags.DEFINE_enum(
    "runtime", "auto", ["auto", "tflite-runtime", "ai-edge-litert", "tensorflow"], "Which interpreter to use."
)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
_PROFILE = flags.DEFINE_list("profile", None, "The user's profile as field=value,...; stored, so given once.")
_DEVICE_ID = flags.DEFINE_string("device_id", None, "Opaque id; by default the stored one or a new random one.")
_KEY_FILE = flags.DEFINE_string("key_file", None, "File of the 32 bytes that the cloud gave; stored, so given once.")
_ON_BUNDLE_CHANGE = flags.DEFINE_enum(
    "on_bundle_change", "rebase", ["rebase", "keep", "reset"], "What happens to a vector of another bundle."
)
_ON_DAMAGE = flags.DEFINE_enum(
    "on_damage", "error", ["error", "reset"], "reset: set damaged files aside and begin afresh."
)

_LABEL = flags.DEFINE_integer("label", 1, "log: 1 liked or clicked, 0 not.")
_SKIPPED = flags.DEFINE_list("skipped", [], "log: items shown at the same time and not chosen.")
_EVENTS = flags.DEFINE_string("events", None, "log: file with one JSON object a line; - is standard input.")

_TOP = flags.DEFINE_integer("top", None, "rank: how many to print; all by default.")
_GATE = flags.DEFINE_float(
    "gate", None, "rank: 0 the cloud model, 1 the personal one; by default what evidence decided."
)
_NEW_ONLY = flags.DEFINE_bool("new_only", False, "rank: leave out what the user has met.")

_LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "personalize: by default the manifest's.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "personalize: at most; by default the manifest's.")
_PULL = flags.DEFINE_float("pull", None, "personalize: precision of the prior at the start; by default the manifest's.")
_HELDOUT_FRACTION = flags.DEFINE_float("heldout_fraction", None, "personalize: by default the manifest's.")
_GATE_MARGIN = flags.DEFINE_float("gate_margin", None, "personalize: by default the manifest's.")
_NEGATIVES = flags.DEFINE_integer("negatives", None, "personalize: drawn for each click; by default the manifest's.")
_SEED = flags.DEFINE_integer("seed", 0, "personalize: of the order of training.")
_PATIENCE = flags.DEFINE_integer("patience", None, "personalize: epochs without gain before stopping early.")

_OUTPUT = flags.DEFINE_string("output", None, "upload: the file to write.")


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit code."""
    name, arguments = (argv[1], argv[2:]) if len(argv) > 1 else ("", [])
    try:
        if name not in COMMANDS:
            raise InputError(
                f"command: expected one of {', '.join(COMMANDS)}, got {name or 'none'}; --help explains them"
            )
        result, text = COMMANDS[name](arguments)
    except DeviceError as error:
        print(f"dccl-device: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if _JSON.value else text)
    return 0 if result.get("passed", True) else 1


def inspect(arguments: list[str]) -> tuple[dict[str, Any], str]:
    bundle = _bundle(arguments)
    manifest = bundle.manifest
    training = {field.name: value for field, value in manifest.training.ListFields()}
    result = {
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
        "training": training,
        "precision": manifest.precision,
        "oldest_runtime": manifest.oldest_runtime,
        "model_bytes": len(bundle.model_bytes),
        "bundle_bytes": bundle.size,
        "operators": {use.name: use.version for use in read_operators(bundle.model)},
    }
    return result, _table(result)


def self_test(arguments: list[str]) -> tuple[dict[str, Any], str]:
    bundle = _bundle(arguments)
    runtime = load_runtime(bundle.model, _RUNTIME.value)
    results = replay_goldens(bundle, runtime)
    passed = all(result.passed for result in results)
    lines = [
        f"{'ok  ' if one.passed else 'FAIL'} {one.signature:9} {one.output:14} "
        f"difference {one.difference:.1e}, at most {one.tolerance:.1e}"
        for one in results
    ]
    lines.append(f"{'passed' if passed else 'FAILED'} on {runtime.name} {runtime.version}")
    outputs = [one._asdict() | {"passed": one.passed} for one in results]
    result = {"passed": passed, "runtime": f"{runtime.name} {runtime.version}", "outputs": outputs}
    return result, "\n".join(lines)


def log(arguments: list[str]) -> tuple[dict[str, Any], str]:
    with _device() as device:
        if _EVENTS.value is not None:
            events = list(_events(_EVENTS.value))
            device.log_many(
                [event["item"] for event in events],
                [event.get("label", 1) for event in events],
                [event.get("skipped", ()) for event in events],
                [event["timestamp"] for event in events] if all("timestamp" in event for event in events) else None,
            )
            count = len(events)
        elif len(arguments) == 1:
            parse = device.bundle.vocabulary.parse
            device.log(parse(arguments[0]), _LABEL.value, [parse(item) for item in _SKIPPED.value])
            count = 1
        else:
            raise InputError(f"log: expected one ITEM or --events=FILE, got {len(arguments)} items")
        result = {"logged": count, "log": device.state["log"]}
    return result, f"logged {count}; the history now has {result['log']['history']} interactions"


def rank(arguments: list[str]) -> tuple[dict[str, Any], str]:
    with _device() as device:
        vocabulary = device.bundle.vocabulary
        candidates = [vocabulary.parse(item) for item in arguments] or vocabulary.ids
        items, scores = device.rank(candidates, _TOP.value, _GATE.value, _NEW_ONLY.value)
        gate = device.gate if _GATE.value is None else _GATE.value
    ranking = [{"item": item, "score": float(score)} for item, score in zip(items, scores, strict=True)]
    return {"gate": gate, "ranking": ranking}, "\n".join(f"{one['item']}\t{one['score']:.4f}" for one in ranking)


def personalize(arguments: list[str]) -> tuple[dict[str, Any], str]:
    _no_arguments("personalize", arguments)
    config = PersonalizeConfig(
        learning_rate=_LEARNING_RATE.value,
        epochs=_EPOCHS.value,
        pull=_PULL.value,
        heldout_fraction=_HELDOUT_FRACTION.value,
        gate_margin=_GATE_MARGIN.value,
        negatives=_NEGATIVES.value,
        seed=_SEED.value,
        patience=_PATIENCE.value,
    )
    with _device() as device:
        report = device.personalize(config).to_dict()
    return report, _table(report)


def upload(arguments: list[str]) -> tuple[dict[str, Any], str]:
    _no_arguments("upload", arguments)
    if not _OUTPUT.value:
        raise InputError("output: expected --output=FILE for the upload's bytes, got none")
    with _device() as device:
        body = device.upload()
        sequence = device.state["sequence"]
    try:
        Path(_OUTPUT.value).write_bytes(body)
    except OSError as error:
        raise InputError(f"output: cannot write {_OUTPUT.value} ({error.strerror})") from error
    result = {"output": _OUTPUT.value, "bytes": len(body), "sequence": sequence}
    return result, f"wrote upload {sequence} of {len(body)} bytes to {_OUTPUT.value}"


def status(arguments: list[str]) -> tuple[dict[str, Any], str]:
    _no_arguments("status", arguments)
    with _device() as device:
        result = device.state
    return result, _table(result)


COMMANDS: dict[str, Callable[[list[str]], tuple[dict[str, Any], str]]] = {
    "inspect": inspect,
    "self-test": self_test,
    "log": log,
    "rank": rank,
    "personalize": personalize,
    "upload": upload,
    "status": status,
}


def _bundle(arguments: list[str]) -> Bundle:
    paths = arguments or ([_BUNDLE.value] if _BUNDLE.value else [])
    if len(paths) != 1:
        raise InputError(f"bundle: expected one folder or zip, got {len(paths)}")
    return Bundle.open(paths[0])


@contextmanager
def _device() -> Iterator[Device]:
    for name, value in (("bundle", _BUNDLE.value), ("state", _STATE.value)):
        if not value:
            raise InputError(f"{name}: expected --{name}=PATH, got none")
    key = None
    if _KEY_FILE.value:
        try:
            key = Path(_KEY_FILE.value).read_bytes()
        except OSError as error:
            raise InputError(f"key_file: cannot read {_KEY_FILE.value} ({error.strerror})") from error
    with Device.open(
        _STATE.value,
        _BUNDLE.value,
        device_id=_DEVICE_ID.value,
        key=key,
        profile=_profile(),
        runtime=_RUNTIME.value,
        on_bundle_change=_ON_BUNDLE_CHANGE.value,
        on_damage=_ON_DAMAGE.value,
    ) as device:
        opening = device.opening
        if opening.how in ("rebase", "keep", "reset"):
            print(
                f"dccl-device: the vector came from bundle {opening.previous.hex()[:12]}: {opening.how}",
                file=sys.stderr,
            )
        for name in opening.damaged:
            print(f"dccl-device: {name} was damaged and set aside as {name}.damaged", file=sys.stderr)
        for name in opening.profile_unknown:
            print(f"dccl-device: the bundle does not know this value of the profile field {name}", file=sys.stderr)
        yield device


def _profile() -> dict[str, str] | None:
    if _PROFILE.value is None:
        return None
    pairs = [pair.partition("=") for pair in _PROFILE.value]
    wrong = [name for name, separator, _ in pairs if not separator]
    if wrong:
        raise InputError(f"profile: expected field=value, got {wrong[0]!r}")
    return {name: value for name, _, value in pairs}


def _events(path: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, each with its item."""
    try:
        lines = (sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"events: cannot read {path} ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise InputError(f"events: {path} line {number}: not JSON ({error})") from error
        unknown = set(event) - {"item", "label", "skipped", "timestamp"} if isinstance(event, dict) else {"no object"}
        if unknown or "item" not in event:
            raise InputError(
                f"events: {path} line {number}: expected an object with item and, if need be, label, skipped and "
                f"timestamp, got {line[:80]}"
            )
        yield event


def _no_arguments(command: str, arguments: list[str]) -> None:
    if arguments:
        raise InputError(f"{command}: expected no further words, got {' '.join(arguments)}")


def _table(facts: dict[str, Any]) -> str:
    width = max(map(len, facts))
    return "\n".join(f"{name:{width}}  {_cell(value)}" for name, value in facts.items())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_cell(one) for one in value)
    return "-" if value in (None, "") else str(value)


def cli() -> None:
    """The console command `dccl-device`."""
    programs.start(main, __name__, words=True)


if __name__ == "__main__":
    cli()

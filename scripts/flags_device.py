"""The flags of `dccl-device`, and what they make: a bundle, an open device, settings."""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from absl import flags

from device_runtime import (
    Bundle,
    BundleError,
    Device,
    InputError,
    LogLimits,
    PersonalizeConfig,
    StateError,
    UploadNoise,
)
from device_runtime.bundle.vocabulary import RawId, Vocabulary
from device_runtime.state.bundle_store import BundleStore
from device_runtime.state.device_state import load_state
from device_runtime.state.folder import STATE as STATE_FILE

JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
RUNTIME = flags.DEFINE_enum(
    "runtime", "auto", ["auto", "tflite-runtime", "ai-edge-litert", "tensorflow"], "Which interpreter to use."
)
STATE = flags.DEFINE_string("state", None, "The device's own folder; made if absent.")
_BUNDLE = flags.DEFINE_string(
    "bundle", None, "Folder or zip of the bundle; by default the one in use. Another one is an upgrade."
)
_PROFILE = flags.DEFINE_list("profile", None, "The user's profile as field=value,...; stored, so given once.")
DEVICE_ID = flags.DEFINE_string("device_id", None, "Opaque id; by default the stored one or a new random one.")
_KEY_FILE = flags.DEFINE_string("key_file", None, "File of the 32 bytes that the cloud gave; stored, so given once.")
ON_BUNDLE_CHANGE = flags.DEFINE_enum(
    "on_bundle_change", "rebase", ["rebase", "keep", "reset"], "What happens to a vector of another bundle."
)
_ON_DAMAGE = flags.DEFINE_enum(
    "on_damage", "error", ["error", "reset"], "reset: set damaged files aside and begin afresh."
)

_KEEP_SAMPLES = flags.DEFINE_integer(
    "keep_samples", None, "Rows to train on that are kept; by default 20,000. Give it with every command that logs."
)
_KEEP_DAYS = flags.DEFINE_float("keep_days", None, "Age of the rows that are kept, in days; by default any.")

LABEL = flags.DEFINE_integer("label", 1, "log: 1 liked or clicked, 0 not.")
SKIPPED = flags.DEFINE_list("skipped", [], "log: items shown at the same time and not chosen.")
EVENTS = flags.DEFINE_string("events", None, "log: file with one JSON object a line; - is standard input.")

TOP = flags.DEFINE_integer("top", None, "rank: how many to print; all by default.")
GATE = flags.DEFINE_float(
    "gate", None, "rank: 0 the cloud model, 1 the personal one; by default what evidence decided."
)
NEW_ONLY = flags.DEFINE_bool("new_only", False, "rank: leave out what the user has met.")

_LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "personalize: by default the manifest's.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "personalize: at most; by default the manifest's.")
_PULL = flags.DEFINE_float("pull", None, "personalize: precision of the prior at the start; by default the manifest's.")
_HELDOUT_FRACTION = flags.DEFINE_float("heldout_fraction", None, "personalize: by default the manifest's.")
_GATE_MARGIN = flags.DEFINE_float("gate_margin", None, "personalize: by default the manifest's.")
_NEGATIVES = flags.DEFINE_integer("negatives", None, "personalize: drawn for each click; by default the manifest's.")
_SEED = flags.DEFINE_integer("seed", 0, "personalize: of the order of training.")
_PATIENCE = flags.DEFINE_integer("patience", None, "personalize: epochs without gain before stopping early.")
_MAX_SECONDS = flags.DEFINE_float(
    "max_seconds", None, "personalize: budget of this call; the next one goes on from there."
)
_MAX_STEPS = flags.DEFINE_integer("max_steps", None, "personalize: the same in steps.")

URL = flags.DEFINE_string(
    "url", None, "register, change-key, upload, upgrade: the collector's: https://collector.example."
)
_ENROLMENT_TOKEN_FILE = flags.DEFINE_string(
    "enrolment_token_file", None, "register: file of the app's enrolment token, where the collector wants one."
)
OR_NEW_ID = flags.DEFINE_bool("or_new_id", False, "register: where the device's id is taken, take a new one.")
OUTPUT = flags.DEFINE_string("output", None, "upload: a file to write instead, for another way to send it.")
HEADER = flags.DEFINE_multi_string("header", [], "upload: a further header of HTTP as Name: value.")
INSECURE = flags.DEFINE_bool("insecure", False, "register, change-key, upload, upgrade: allow http:// to others.")
ATTEMPTS = flags.DEFINE_integer("attempts", 5, "upload: how often to try in this call.", lower_bound=1)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm", None, "upload, privacy: norm to which the vector is cut before noise. Give it with every upload."
)
_NOISE_MULTIPLIER = flags.DEFINE_float(
    "noise_multiplier",
    None,
    "upload, privacy: standard deviation of the noise on each float, in clip norms. Give it with every upload.",
)
EXACT = flags.DEFINE_bool("exact", False, "upload: without noise, though the upload before had some.")
UPLOADS = flags.DEFINE_integer("uploads", 30, "privacy: how many uploads of one device to account for.")
DELTA = flags.DEFINE_float("delta", 1e-5, "privacy: probability with which the guarantee may fail.")

RETRY = flags.DEFINE_bool("retry", False, "upgrade: also a bundle that was refused before, or rolled back from.")
FORGET_USER = flags.DEFINE_bool("forget_user", False, "reset: erase interactions, profile and events too.")
NEWEST = flags.DEFINE_integer("newest", 20, "events: how many, at most 1,000.")

_DEVICE = (STATE, _BUNDLE, _PROFILE, DEVICE_ID, _KEY_FILE, RUNTIME, ON_BUNDLE_CHANGE, _ON_DAMAGE)
_NOISE = (_CLIP_NORM, _NOISE_MULTIPLIER)
_TRAINING = (_LEARNING_RATE, _EPOCHS, _PULL, _HELDOUT_FRACTION, _GATE_MARGIN, _NEGATIVES, _SEED, _PATIENCE)
# What each command takes beside --json.
_TAKEN: dict[str, tuple[flags.FlagHolder, ...]] = {
    "inspect": (_BUNDLE,),
    "self-test": (_BUNDLE, RUNTIME),
    "register": (STATE, DEVICE_ID, OR_NEW_ID, URL, INSECURE, _ENROLMENT_TOKEN_FILE),
    "change-key": (STATE, URL, INSECURE),
    "log": (*_DEVICE, _KEEP_SAMPLES, _KEEP_DAYS, LABEL, SKIPPED, EVENTS),
    "rank": (*_DEVICE, TOP, GATE, NEW_ONLY),
    "personalize": (*_DEVICE, *_TRAINING, _MAX_SECONDS, _MAX_STEPS),
    "upload": (*_DEVICE, URL, INSECURE, OUTPUT, HEADER, ATTEMPTS, *_NOISE, EXACT),
    "upgrade": (*_DEVICE, URL, INSECURE, RETRY),
    "rollback": _DEVICE,
    "reset": (*_DEVICE, FORGET_USER),
    "status": _DEVICE,
    "events": (*_DEVICE, NEWEST),
    "privacy": (*_NOISE, UPLOADS, DELTA),
}


def check_taken(command: str) -> None:
    """Raises InputError for a flag of other commands, which would change nothing."""
    for flag in flags.FLAGS.flags_by_module_dict()[__name__]:
        takers = [name for name, taken in _TAKEN.items() if flag.name in [one.name for one in taken]]
        if flag.present and takers and command not in takers:
            raise InputError(f"{flag.name}: expected flags of {command}, got one of {', '.join(takers)}")


def bundle(arguments: list[str]) -> Bundle:
    """The bundle that a command's one word or --bundle names."""
    paths = [*arguments, *filter(None, [_BUNDLE.value])]
    if len(paths) != 1:
        raise InputError(f"bundle: expected one folder or zip, got {len(paths)}")
    return Bundle.open(paths[0])


def needs_bundle() -> bool:
    """Whether the device of --state has no bundle to go on with, since it is new or its copy is damaged, and --bundle
    gives it none."""
    if not STATE.value or _BUNDLE.value:
        return False
    folder, stored = Path(STATE.value), None
    with suppress(StateError):  # which opening the device tells
        stored = load_state(folder / STATE_FILE)
    bundles = BundleStore(folder / "bundles")
    try:
        bundles.open(stored.bundle if stored else next(iter(bundles.newest()), b""))
    except BundleError:
        return True
    return False


@contextmanager
def device(first: Path | None = None) -> Iterator[Device]:
    """The device of --state, open, with `first` for --bundle; what should not pass silently goes to standard error."""
    if not STATE.value:
        raise InputError("state: expected --state=PATH, got none")
    with Device.open(
        STATE.value,
        first or _BUNDLE.value,
        device_id=DEVICE_ID.value,
        key=_content(_KEY_FILE),
        profile=_profile(),
        runtime=RUNTIME.value,
        on_bundle_change=ON_BUNDLE_CHANGE.value,
        on_damage=_ON_DAMAGE.value,
        limits=_limits(),
        noise=noise(),
    ) as one:
        opening = one.opening
        notes = [f"{name} was damaged and set aside as {name}.damaged" for name in opening.damaged]
        notes += [
            f"the bundle does not know this value of the profile field {name}" for name in opening.profile_unknown
        ]
        if opening.how in ("rebase", "keep", "reset"):
            notes.append(f"the vector came from bundle {opening.previous.hex()[:12]}: {opening.how}")
        if opening.refused:
            notes.append(f"--bundle was refused, the device goes on with the one it had: {opening.refused}")
        for note in notes:
            print(f"dccl-device: {note}", file=sys.stderr)
        yield one


def settings() -> PersonalizeConfig:
    """How to personalise."""
    return PersonalizeConfig(
        learning_rate=_LEARNING_RATE.value,
        epochs=_EPOCHS.value,
        pull=_PULL.value,
        heldout_fraction=_HELDOUT_FRACTION.value,
        gate_margin=_GATE_MARGIN.value,
        negatives=_NEGATIVES.value,
        seed=_SEED.value,
        patience=_PATIENCE.value,
        max_seconds=_MAX_SECONDS.value,
        max_steps=_MAX_STEPS.value,
    )


def noise() -> UploadNoise | None:
    """The noise on uploads; None without its two flags."""
    values = tuple(flag.value for flag in _NOISE)
    if values == (None, None):
        return None
    if None in values:
        raise InputError("noise: expected both --clip_norm and --noise_multiplier or neither, got one")
    return UploadNoise(*values)


def headers() -> dict[str, str]:
    """Further headers of HTTP."""
    pairs = [header.partition(":") for header in HEADER.value]
    for name, separator, _ in pairs:
        if not separator or not name.strip():
            raise InputError(f"header: expected Name: value, got {name!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def skipped_item(vocabulary: Vocabulary, text: str) -> RawId:
    """An item of --skipped."""
    try:
        if text:
            return vocabulary.parse(text)
    except InputError as error:
        raise InputError(f"skipped: {str(error).removeprefix('item: ')}") from error
    raise InputError(f"skipped: expected item ids with commas between them, got none in {','.join(SKIPPED.value)!r}")


def _limits() -> LogLimits:
    limits = LogLimits(days=_KEEP_DAYS.value)
    return limits if _KEEP_SAMPLES.value is None else dataclasses.replace(limits, samples=_KEEP_SAMPLES.value)


def token() -> str | None:
    """The enrolment token."""
    content = _content(_ENROLMENT_TOKEN_FILE)
    return content and content.decode("latin-1").strip()


def _content(flag: flags.FlagHolder[str | None]) -> bytes | None:
    """What lies in the file that a flag names."""
    if not flag.value:
        return None
    try:
        return Path(flag.value).read_bytes()
    except OSError as error:
        raise InputError(f"{flag.name}: cannot read {flag.value} ({error.strerror})") from error


def _profile() -> dict[str, str] | None:
    if _PROFILE.value is None:
        return None
    pairs = [pair.partition("=") for pair in _PROFILE.value]
    wrong = [name for name, separator, _ in pairs if not separator]
    if wrong:
        raise InputError(f"profile: expected field=value, got {wrong[0]!r}")
    return {name: value for name, _, value in pairs}

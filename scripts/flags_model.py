"""The flags that size and train a model, shared by the programs of the cloud, and the configuration they make."""

import json
import zipfile
from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from absl import flags, logging

from scripts import programs  # noqa: F401 (sets TensorFlow's environment)

flags.DEFINE_integer(
    "seed",
    0,
    "Of all that is left to chance, but the order of rows on a device.",
    lower_bound=0,
    upper_bound=2**32 - 2,
)
flags.DEFINE_enum("split", "halves", ["halves", "time"], "Phases of each user, or the same moments for all (A.1).")
flags.DEFINE_integer("rounds", 1, "Rounds between devices and cloud.", lower_bound=1)
flags.DEFINE_integer("devices", 100, "Devices that run for real, each round; the fleet simulates all.", lower_bound=0)
flags.DEFINE_enum("runtime", "auto", ["auto", "tflite-runtime", "ai-edge-litert", "tensorflow"], "Of real devices.")
flags.DEFINE_enum("precision", "float32", ["float32", "float16"], "Of the exported constants.")
flags.DEFINE_integer("metapatch_length", 32, "K, floats that a device trains.", lower_bound=1)
flags.DEFINE_list("bottlenecks", ["16", "16", "16"], "R of the patch at each junction.")
flags.DEFINE_list("junctions", ["1", "1", "1"], "1 for each junction that carries a patch, 0 for one that does not.")
flags.DEFINE_integer("history_length", 50, "T, newest items that a model sees.", lower_bound=1)
flags.DEFINE_integer("item_width", 32, "Width of an item's embedding.", lower_bound=1)
flags.DEFINE_list("hidden", ["64", "32", "32"], "Widths of DIN's fully connected layers.")
flags.DEFINE_float("dropout", 0.2, "In DIN, while it trains.")
flags.DEFINE_integer("negatives", 4, "Protocol next: items drawn for each click.", lower_bound=1)
flags.DEFINE_integer("batch_positions", 1024, "Clicks a batch.", lower_bound=1)
flags.DEFINE_integer("epochs", None, "Of pretraining, at most; by default the protocol's.", lower_bound=1)
flags.DEFINE_float("learning_rate", None, "Of pretraining; by default the protocol's.")
flags.DEFINE_float("weight_decay", None, "Of pretraining (AdamW); by default the protocol's.", lower_bound=0.0)
flags.DEFINE_integer(
    "round_epochs", 10, "Of f in each round (progressive) or the fair baseline, at most.", lower_bound=1
)
flags.DEFINE_float("round_learning_rate", 1e-3, "Of the same.")
flags.DEFINE_integer("basis_epochs", 3, "progressive: of learning the basis.", lower_bound=1)
flags.DEFINE_float("basis_learning_rate", 1e-3, "Of the same.")
flags.DEFINE_float(
    "beta", 0.1, "Weight of the teachers (Eq. 5 and 7); 0 suits a log on which they know far less than f."
)
flags.DEFINE_float("device_learning_rate", 0.01, "Of the vector on a device.")
flags.DEFINE_integer("device_epochs", 10, "On a device, at most.", lower_bound=1)
flags.DEFINE_float(
    "pull",
    None,
    "Precision of the prior that holds a device's vector near its start; by default 320 under liked, and "
    "under next as much for each item that a click is told from: 1600.",
)
flags.DEFINE_enum(
    "learning",
    "joint",
    ["joint", "progressive"],
    "f, Theta and U at once beside vectors of all users, or Eq. 5, then 7.",
)
flags.DEFINE_float("shared", 0.3, "joint: weight of f's own loss beside the personal models'.", lower_bound=0.0)
flags.DEFINE_float(
    "offset_pull",
    320.0,
    "joint: precision of the prior of the users' vectors in the cloud; more, such as 6400, where they would fit the "
    "very clicks that f learns.",
)
flags.DEFINE_float(
    "closing_beta",
    None,
    "joint: weight of the simulated devices that teach f at the end; by default 3 under liked, 0 under next.",
    lower_bound=0.0,
)
flags.DEFINE_enum("memory", "all", ["all", "rounds"], "What devices train on: their whole past, or the rounds alone.")
flags.DEFINE_float("gate_margin", -0.02, "Held-out log loss that personal must win by; negative: may lose by.")
flags.DEFINE_enum("device_optimizer", "adam", ["adam", "sgd"], "Of the vector on a device.")

# What a checkpoint decides: flags that must say the same if they are given.
SIZES = ("metapatch_length", "bottlenecks", "junctions", "history_length", "item_width", "hidden", "dropout")
# Flags of how devices train, and what a manifest's `training` calls it.
_DEVICES = {
    "device_optimizer": "optimizer",
    "device_learning_rate": "learning_rate",
    "device_epochs": "epochs",
    "pull": "pull",
    "gate_margin": "gate_margin",
}


def config(values: flags.FlagValues, protocol: str):  # noqa: ANN201 (a DcclConfig, whose module imports TensorFlow)
    """The configuration that the flags ask for."""
    from dccl_tf.run_config import DcclConfig

    defaults = DcclConfig(protocol=protocol)
    pretraining = {name: values[name].value for name in ("epochs", "learning_rate", "weight_decay")}
    made = replace(
        defaults,
        split=values.split,
        rounds=values.rounds,
        devices=values.devices,
        seed=values.seed,
        metapatch_length=values.metapatch_length,
        bottlenecks=_numbers("bottlenecks", values.bottlenecks),
        junctions=_switches("junctions", values.junctions),
        history_length=values.history_length,
        item_width=values.item_width,
        hidden=_numbers("hidden", values.hidden),
        dropout=values.dropout,
        negatives=values.negatives,
        batch_positions=values.batch_positions,
        pretraining=replace(defaults.pretraining, **{k: v for k, v in pretraining.items() if v is not None}),
        incremental=_trained("round_", defaults.incremental, values),
        basis=_trained("basis_", defaults.basis, values),
        beta=values.beta,
        learning=values.learning,
        shared=values.shared,
        offset_pull=values.offset_pull,
        closing=None,
        closing_beta=defaults.closing_beta if values.closing_beta is None else values.closing_beta,
        memory=values.memory,
        fleet=None,
        precision=values.precision,
        runtime=values.runtime,
    )
    devices = {name: values[flag].value for flag, name in _DEVICES.items() if values[flag].value is not None}
    return replace(made, fleet=replace(made.fleet, **devices))


def checkpoint_width(path: str) -> int:
    """The width of the item vectors of a cloud model, read without TensorFlow; 0 where the file is none, which loading
    it will tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))["config"]["din"]["config"]["config"]["item_width"]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return 0


def load_checkpoint(path: str):  # noqa: ANN201 (a CloudModel, whose module imports TensorFlow)
    """The cloud model in a .keras file.

    Raises:
      ValueError: there is none.
    """
    import keras

    from dccl_tf.cloud_model import CloudModel

    if not Path(path).is_file():
        raise ValueError(f"checkpoint: expected the .keras file of a cloud model, got {path}, where there is none")
    try:
        cloud = keras.saving.load_model(path)
    except Exception as error:  # a damaged file raises several kinds, and one of an unknown class others
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"checkpoint: expected the .keras file of a cloud model, got {path}: {said}") from error
    if not isinstance(cloud, CloudModel):
        raise ValueError(f"checkpoint: expected a cloud model, got a {type(cloud).__name__} in {path}")
    return cloud


def config_of(values: flags.FlagValues, protocol: str, cloud, path: str):  # noqa: ANN001, ANN201 (as above)
    """As `config`, with the sizes of a checkpoint.

    Raises:
      ValueError: a flag asks for another one, or the protocol's samples do not fit the model.
    """
    asked, din, patch = config(values, protocol), cloud.din.config, cloud.metapatch
    of_patch = {"metapatch_length": patch.length, "bottlenecks": patch.bottlenecks, "junctions": patch.junctions}
    made = {name: of_patch[name] if name in of_patch else getattr(din, name) for name in SIZES}
    for name, own in made.items():
        if values[name].present and getattr(asked, name) != own:
            raise ValueError(
                f"{name}: expected {_word(own)}, as {path} was made with, got {_word(getattr(asked, name))}"
            )
    if din.history_labels != (protocol == "liked"):
        other = "liked" if din.history_labels else "next"
        raise ValueError(f"protocol: expected {other}, for which {path} was made, got {protocol}")
    return replace(asked, **made)


def refuse_idle(values: flags.FlagValues, acting: Collection[str], work: str) -> None:
    """Raises ValueError for a flag of this module that was given and would change nothing.

    Args:
      values: of all flags.
      acting: names of those that matter, beside `SIZES`, which must be the checkpoint's.
      work: what is done instead of training, for the message.
    """
    for flag in values.flags_by_module_dict()[__name__]:
        if flag.present and flag.name not in (*acting, *SIZES):
            device = f"device_{flag.name}"
            meant = f"; a device's is --{device}" if device in acting else ""
            raise ValueError(f"{flag.name}: expected flags of {work}, got one of the cloud's training{meant}")


def _word(value: int | tuple[int, ...]) -> str:
    """As it is written behind a flag."""
    return ",".join(str(int(number)) for number in value) if isinstance(value, tuple) else str(value)


def _trained(prefix: str, training, values: flags.FlagValues):  # noqa: ANN001, ANN202 (a TrainConfig, as above)
    """A stage's training by the flags that its prefix begins."""
    try:
        return replace(training, **{name: values[prefix + name].value for name in ("epochs", "learning_rate")})
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def _switches(name: str, words: list[str]) -> tuple[bool, ...]:
    if not set(words) <= {"0", "1"}:
        raise ValueError(f"{name}: expected 0 and 1 separated by commas, got {','.join(words)}")
    return tuple(word == "1" for word in words)


def config_with_devices_of(values: flags.FlagValues, bundle, config):  # noqa: ANN001, ANN201 (as above)
    """A `config` whose devices train as a bundle says, but for the flags that were given, which the log tells."""
    manifest, asked = deepcopy(bundle.manifest), config.training()
    for flag, name in (_DEVICES | {"negatives": "negatives"}).items():
        own, shipped = getattr(asked, name), getattr(manifest.training, name)
        if values[flag].present and own != shipped:
            shown = f"{shipped:g}" if isinstance(shipped, float) else shipped
            logging.warning("%s: %s as asked, where %s says %s", flag, values[flag].value, bundle.path, shown)
            setattr(manifest.training, name, own)
    return config.with_devices_of(manifest)


def _numbers(name: str, words: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise ValueError(f"{name}: expected whole numbers separated by commas, got {','.join(words)}") from None

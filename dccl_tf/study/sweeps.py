"""Ablations: one setting of DCCL at a time, each value against the fair baseline or, on devices, the cloud model.

A sweep is a list of (label, changes). Changes are dotted names of `DcclConfig`'s fields and their values; what they
leave alone has a run's defaults. What concerns devices alone is a list of (label, `DeviceArm`) instead: those share a
cell (`device_arms`). A new ablation is a new entry of SWEEPS or of DEVICE_SWEEPS.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dccl_tf.arguments import did_you_mean
from dccl_tf.rounds import CLOUD, DEVICES, FAIR
from dccl_tf.run_config import DcclConfig
from dccl_tf.study.cells import Changes
from dccl_tf.study.device_arms import CLOUD_ALONE, DeviceArm
from dccl_tf.study.plans import Plan, Row, against_own_baseline
from dccl_tf.study.settings import RUN_DEFAULTS, changed, dccl_config


@dataclass(frozen=True)
class Sweep:
    """One ablation."""

    title: str
    variations: tuple[tuple[str, Changes], ...]
    models: tuple[str, ...] = (CLOUD, DEVICES)  # that each variation shows
    one_baseline: bool = True  # of all variations, since what they change matters to devices alone
    base: Changes = RUN_DEFAULTS  # what all variations have in common


def _values(name: str, *values: object) -> tuple[tuple[str, Changes], ...]:
    return tuple((str(value), ((name, value),)) for value in values)


def _everywhere(name: str, *values: int) -> tuple[tuple[str, Changes], ...]:
    return tuple((str(value), ((name, (value,) * 3),)) for value in values)


def _progressive(name: str, *values: object) -> tuple[tuple[str, Changes], ...]:
    return tuple((str(value), (("learning", "progressive"), (name, value))) for value in values)


SWEEPS = {
    "K": Sweep("Length of the metapatch, K", _values("metapatch_length", 4, 8, 16, 32, 64)),
    "bottleneck": Sweep("Width of the bottleneck, R, at every junction", _everywhere("bottlenecks", 4, 8, 16, 32)),
    "beta": Sweep("Weight of the teachers, beta (Eq. 5 and 7)", _values("beta", 0.0, 0.01, 0.1, 0.3, 1.0)),
    "width": Sweep(
        "Width of the item vectors, which a phone stores; each with the training that suits its DIN",
        (("32", RUN_DEFAULTS), ("128", ())),
        one_baseline=False,
        base=(),
    ),
    "history": Sweep(
        "Length of the history that a model sees, T",
        _values("history_length", 10, 20, 50, 100),
        one_baseline=False,
    ),
    "upgrade": Sweep(
        "What happens to a vector when a new bundle comes",
        (("reset", ()), *_values("after_upgrade", "keep", "rebase")),
        models=(DEVICES,),
    ),
    "uploads": Sweep("Share of the devices that upload", _values("upload_share", 0.01, 0.1, 1.0)),
    "noise": Sweep(
        "Noise on each float of an uploaded vector, whose prior has a standard deviation of 0.056",
        _values("upload_noise", 0.0, 0.03, 0.1, 0.3),
    ),
    "learning": Sweep(
        "f, basis and encoder learned at once beside a vector of every user, or one after the other (Eq. 5, then 7)",
        _values("learning", "progressive", "joint"),
        one_baseline=False,
    ),
    "shared": Sweep("Weight of f's own loss beside the personal models'", _values("shared", 0.1, 0.3, 1.0)),
    "offset-pull": Sweep(
        "Precision of the prior of the users' vectors in the cloud", _values("offset_pull", 80.0, 320.0, 1280.0)
    ),
    "stale-teachers": Sweep(
        "Teachers that know half of the data, and the prior of the users' vectors in the cloud",
        tuple(
            (f"beta {beta:g}, prior {pull:g}", (("beta", beta), ("offset_pull", pull)))
            for beta in (0.0, 0.1)
            for pull in (320.0, 6400.0)
        ),
    ),
    "closing": Sweep(
        "Weight of the personal models as f's teachers at the end", _values("closing_beta", 0.0, 1.0, 3.0)
    ),
    "memory": Sweep("What devices train on: their whole past, or the rounds alone", _values("memory", "rounds", "all")),
    "rehearsal": Sweep(
        "Progressive: share of the pretraining half that teaches the first basis",
        _progressive("rehearsal", 0.1, 0.2, 0.4, 0.6),
    ),
    "simulate": Sweep(
        "Progressive: users have an offset of their own while the first basis is learned",
        _progressive("simulate", False, True),
    ),
}


def _settings(name: str, *values: float) -> dict[str, DeviceArm]:
    return {str(value): DeviceArm(fleet=((name, value),)) for value in values}


@dataclass(frozen=True)
class DeviceSweep:
    """One ablation of what devices do, on one cloud model."""

    title: str
    arms: dict[str, DeviceArm]
    job: str = "devices"  # whose cell has them, a key of DEVICE_JOBS


_GRID = {"rates": (3e-4, 1e-3, 3e-3), "pulls": (100.0, 3000.0)}  # of thousands of parameters
_GRID_OF_VECTORS = {"rates": (3e-3, 1e-2, 3e-2), "pulls": (40.0, 320.0, 1280.0)}
_UNTRAINED: Changes = (("epochs", 0), ("gate_margin", -1000.0))
_CONTROLS = {
    "own vectors": DeviceArm(),
    "U(0, u), never trained": DeviceArm(fleet=_UNTRAINED),
    "mean of U(0, u), never trained": DeviceArm(fleet=_UNTRAINED, start="mean"),
    "vectors of other users": DeviceArm(swapped=True),
}
# Arms share a cell, and what its cloud model is made with; fine-tuning, which takes hours, has one of its own.
DEVICE_JOBS: dict[str, Changes] = {
    "devices": RUN_DEFAULTS,
    "short-history": (*RUN_DEFAULTS, ("history_length", 10)),
    "finetuning": (),
}

DEVICE_SWEEPS = {
    "device-rate": DeviceSweep(
        "Learning rate on the device", _settings("learning_rate", 0.001, 0.003, 0.01, 0.03, 0.1)
    ),
    "device-epochs": DeviceSweep("Epochs on the device, at most", _settings("epochs", 1, 3, 10, 30)),
    "pull": DeviceSweep(
        "Precision of the prior that holds a vector near its start (default: 320 under liked, 1600 under next)",
        _settings("pull", 0.0, 40.0, 160.0, 320.0, 1280.0)
        | {"of nine rates and priors what validation prefers": DeviceArm(**_GRID_OF_VECTORS)},
    ),
    "gate": DeviceSweep(
        "Gate: held-out log loss that the personal model must win by (-1000: always open)",
        _settings("gate_margin", 0.02, 0.0, -0.02, -0.05, -1000.0),
    ),
    "held-out": DeviceSweep("Share of the clicks held out", _settings("heldout_fraction", 0.1, 0.2, 0.4)),
    "start": DeviceSweep(
        "Where vectors begin, and what the prior holds them near",
        {
            "U(0, u)": DeviceArm(),
            "0": DeviceArm(start="zero"),
            "mean of U(0, u)": DeviceArm(start="mean"),
            "random": DeviceArm(start="random"),
        },
    ),
    "personal": DeviceSweep("Is it personal? Vectors that never trained, and those of other users", _CONTROLS),
    "personal-short": DeviceSweep(
        "The same where a model sees the newest 10 clicks alone (T = 10)", _CONTROLS, job="short-history"
    ),
    "what-learns": DeviceSweep(
        "What a device trains (of six rates and priors each, what validation prefers; of the metapatch the default)",
        {
            "metapatch": DeviceArm(),
            "all parameters of the patches": DeviceArm(learns="patches", **_GRID),
            "last layer": DeviceArm(learns="last", **_GRID),
            "all layers above the first junction": DeviceArm(learns="head", **_GRID),
        },
        job="finetuning",
    ),
}

ABLATIONS = (*SWEEPS, *DEVICE_SWEEPS)


def device_arms(job: str) -> dict[str, DeviceArm]:
    """Every arm of a job once, by the name of its model in the cell: "default", or "sweep: label"."""
    arms = {"default": DeviceArm()}
    for name, sweep in DEVICE_SWEEPS.items():
        if sweep.job == job:
            arms |= {f"{name}: {label}": arm for label, arm in sweep.arms.items() if not _is_default(arm)}
    return arms


def _is_default(arm: DeviceArm) -> bool:
    """Whether devices do that anyway, under both protocols."""
    defaults = [DcclConfig(protocol=protocol).fleet for protocol in ("next", "liked")]
    return replace(arm, fleet=()) == DeviceArm() and all(arm.settings(one) == [one] for one in defaults)


def _plan_of_device_sweep(name: str) -> Plan:
    sweep = DEVICE_SWEEPS[name]
    changes = DEVICE_JOBS[sweep.job]
    rows = [Row(CLOUD_ALONE, sweep.job, CLOUD_ALONE, changes)]
    for label, arm in sweep.arms.items():
        shown, model = (f"{label} (default)", "default") if _is_default(arm) else (label, f"{name}: {label}")
        rows.append(Row(shown, sweep.job, model, changes))
    pairs = tuple((row.label, CLOUD_ALONE) for row in rows[1:])
    return Plan(f"ablation-{name}", f"Ablation: {sweep.title}", tuple(rows), pairs, note=_width_of(changes))


def plan_of_sweep(name: str) -> Plan:
    """The plan of one ablation: every variation's models, each against the fair baseline of the same run.

    Raises:
      ValueError: there is no such sweep.
    """
    if name in DEVICE_SWEEPS:
        return _plan_of_device_sweep(name)
    if name not in SWEEPS:
        guess = did_you_mean(name, ABLATIONS)
        raise ValueError(f"ablation: expected 'all' or one of {', '.join(ABLATIONS)}, got {name!r}{guess}")
    sweep = SWEEPS[name]
    bases = [(dccl_config(name, 0, sweep.base), dccl_config(name, 0, RUN_DEFAULTS)) for name in ("next", "liked")]

    def is_default(changes: Changes) -> bool:
        return all(changed(base, changes) == default for base, default in bases)

    labelled = [
        (f"{label} (default)" if is_default(changes) else label, sweep.base + changes)
        for label, changes in sweep.variations
    ]
    if sweep.one_baseline:
        rows, pairs = _against_one_baseline(labelled, sweep.models, sweep.base)
    else:
        rows, pairs = against_own_baseline(labelled, sweep.models)
    note = _PRIORS_OF_WIDTHS if name == "width" else _width_of(sweep.base)
    return Plan(f"ablation-{name}", f"Ablation: {sweep.title}", rows, pairs, note=note)


_PRIORS_OF_WIDTHS = "At 128 floats devices have the prior of the tables, under `next` a fifth as strong as a run's."


def _width_of(base: Changes) -> str:
    """What a page says of the model."""
    return f"With {dccl_config('liked', seed=0, changes=base).item_width} floats an item."


def _against_one_baseline(
    changes_of: Iterable[tuple[str, Changes]], models: Iterable[str], base: Changes
) -> tuple[tuple[Row, ...], tuple[tuple[str, str], ...]]:
    """Rows and pairs of variations that have the baseline of the run with `base`; the devices of each are measured
    against those of the default, too."""
    fair = Row(FAIR, "dccl", FAIR, base)
    ours = [Row(f"{label}: {model}", "dccl", model, changes) for label, changes in changes_of for model in models]
    devices = [row.label for row in ours if row.model == DEVICES]
    default = next((label for label in devices if "(default)" in label), None)
    pairs = [(row.label, fair.label) for row in ours]
    pairs += [(label, default) for label in devices if default and label != default]
    return (fair, *ours), tuple(pairs)

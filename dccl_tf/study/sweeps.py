"""Ablations: one setting of DCCL at a time, each value against the fair baseline.

A sweep is a list of (label, changes). Changes are dotted names of `DcclConfig`'s fields and their values. A new
ablation is a new entry of SWEEPS.
"""

from dataclasses import dataclass

from dccl_tf.arguments import did_you_mean
from dccl_tf.run_config import DcclConfig
from dccl_tf.study.cells import Changes
from dccl_tf.study.plans import DEVICES, FAIR, Plan, Row
from dccl_tf.study.settings import changed


@dataclass(frozen=True)
class Sweep:
    """One ablation."""

    title: str
    variations: tuple[tuple[str, Changes], ...]
    models: tuple[str, ...] = ("DCCL-e", DEVICES)  # that each variation shows


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
    "device-rate": Sweep(
        "Learning rate on the device", _values("fleet.learning_rate", 0.005, 0.02, 0.05, 0.1, 0.2), models=("DCCL-e",)
    ),
    "device-epochs": Sweep("Epochs on the device, at most", _values("fleet.epochs", 1, 3, 10, 30), models=("DCCL-e",)),
    "pull": Sweep(
        "Precision of the prior that holds a vector near its start",
        _values("fleet.pull", 0.0, 10.0, 40.0, 160.0, 640.0),
        models=("DCCL-e",),
    ),
    "gate": Sweep(
        "Gate: held-out log loss that the personal model must win by (-1000: always open)",
        _values("fleet.gate_margin", -1000.0, 0.0, 0.01, 0.03),
    ),
    "history": Sweep("Length of the history that a model sees, T", _values("history_length", 10, 20, 50, 100)),
    "learning": Sweep(
        "f, basis and encoder learned at once beside a vector of every user, or one after the other (Eq. 5, then 7)",
        _values("learning", "progressive", "joint"),
    ),
    "shared": Sweep("Weight of f's own loss beside the personal models'", _values("shared", 0.1, 0.3, 1.0)),
    "offset-pull": Sweep(
        "Precision of the prior of the users' vectors in the cloud", _values("offset_pull", 10.0, 40.0, 160.0)
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


def plan_of_sweep(name: str) -> Plan:
    """The plan of one ablation: every variation's models, each against the fair baseline of the same run.

    Raises:
      ValueError: there is no such sweep.
    """
    if name not in SWEEPS:
        guess = did_you_mean(name, SWEEPS)
        raise ValueError(f"ablation: expected 'all' or one of {', '.join(SWEEPS)}, got {name!r}{guess}")
    sweep = SWEEPS[name]
    rows, pairs = [], []
    for label, changes in sweep.variations:
        label += " (default)" if changed(DcclConfig(), changes) == DcclConfig() else ""
        fair = Row(f"{label}: {FAIR}", "dccl", FAIR, changes)
        ours = [Row(f"{label}: {model}", "dccl", model, changes) for model in sweep.models]
        rows += [fair, *ours]
        pairs += [(row.label, fair.label) for row in ours]
    return Plan(f"ablation-{name}", f"Ablation: {sweep.title}", tuple(rows), tuple(pairs))

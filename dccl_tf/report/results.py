"""What a run found, in plain dataclasses: the report's JSON is these, its page draws them."""

from dataclasses import dataclass, field
from typing import Any

from dccl_tf.metrics import Estimate
from dccl_tf.report.activity import ActivityGroup

# Metrics of which less is better; of all others more is.
LOWER_IS_BETTER = ("log_loss/liked", "calibration_error/liked")
# What the tables show, in this order; report.json has every metric.
COLUMNS = {
    "next": ("hr@1/neg100", "hr@5/neg100", "hr@10/neg100", "ndcg@5/neg100", "ndcg@10/neg100", "ndcg@10/full"),
    "liked": ("macro_auc/liked", "log_loss/liked"),
}


@dataclass(frozen=True)
class VectorMap:
    """The metapatches in two dimensions (Fig. 7)."""

    points: list[list[float]]  # M pairs, by t-SNE
    categories: list[str]  # M, each device's most frequent category
    purity: float  # share of the 10 nearest vectors (in K dimensions) with the device's own category
    shuffled_purity: float  # the same with shuffled categories


@dataclass(frozen=True)
class Case:
    """One long-tail user (Fig. 6)."""

    user: str
    interactions: int
    history: list[str]  # newest last
    held_out: str
    top: dict[str, list[str]]  # model to its five best items


@dataclass(frozen=True)
class ProtocolResults:
    """One protocol's findings."""

    models: dict[str, dict[str, Estimate]]  # model to metric to estimate
    baseline: str  # the fair one: as much data, no devices
    differences: dict[str, dict[str, Estimate]]  # model to metric to its paired difference from the baseline
    validation: dict[str, float]  # model to what training stops by, higher is better
    advice: list[str]  # what to try where validation prefers the fair baseline
    metric: str  # of the activity groups
    activity: list[ActivityGroup]
    vectors: VectorMap | None
    case: Case | None
    curves: dict[str, dict[str, Any]]  # training stage to its loss and validation by epoch
    devices: list[dict[str, Any]]  # of each round: real devices, uploads, agreement with the fleet
    bundle: dict[str, Any]  # size, identity and certificate of the last one
    split: dict[str, int]
    seconds: dict[str, float]  # of each stage


@dataclass(frozen=True)
class Results:
    """All that a run found."""

    dataset: str
    source: str
    counts: dict[str, int]  # what loading read, kept and left out
    seed: int
    settings: dict[str, Any]  # of each protocol
    versions: dict[str, str]
    command: str
    date: str  # 2026-01-31
    seconds: float
    protocols: dict[str, ProtocolResults] = field(default_factory=dict)

"""What a run is made of: its settings, and the split, samples, model and judges that follow from them.

`rounds` puts these together; the programs that do one stage alone use them too.
"""

import math
from dataclasses import dataclass, field, replace

from dccl_tf.arguments import a_share, at_least_one
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.batches import best_positions
from dccl_tf.data.schema import InteractionLog, Span, Split
from dccl_tf.data.sequences import split_by_time, split_liked, split_next, with_negatives_left
from dccl_tf.evaluate import Evaluator, LikedEvaluator, NextEvaluator
from dccl_tf.fleet import FleetConfig
from dccl_tf.trainer import TrainConfig
from dccl_tf.training_data import TrainingData, candidates_of
from device_runtime.interpreter.providers import MODULES
from protos import dccl_pb2

# How DIN learns best of a few settings each on MovieLens-1M's validation, with and without vectors beside it, at the
# default width of its items. `baselines` has what a search over the width too found.
DIN_TRAINING = {
    "next": TrainConfig(epochs=25, learning_rate=3e-3, weight_decay=0.1),
    "liked": TrainConfig(epochs=20, learning_rate=3e-3, weight_decay=0.3),
}

# What simulated devices weigh as teachers at the end: where that raised validation (docs/evaluation.md).
CLOSING_BETA = {"next": 0.0, "liked": 3.0}

# Precision of the prior of vectors. On devices for each row that a click is told from, one under "liked" and one more
# for each item drawn under "next", so that it weighs the same against a click. Validation prefers that, and the same in
# the cloud under both (docs/evaluation.md).
PULL = 320.0

# Settings of a fleet that travel to phones in a manifest's `training`.
_TRAVEL = ("optimizer", "learning_rate", "epochs", "pull", "heldout_fraction", "gate_margin")


@dataclass(frozen=True)
class DcclConfig:
    """Everything that a run depends on beside the log."""

    protocol: str = "next"  # or "liked"
    split: str = "halves"  # of each user (Section 4.2.1), or "time": the same moments for all (Appendix A.1)
    rounds: int = 1
    devices: int = 100  # run for real on a TFLite runtime, each round
    seed: int = 0
    metapatch_length: int = 32  # K
    bottlenecks: tuple[int, ...] = (16, 16, 16)  # R of each junction
    junctions: tuple[bool, ...] = (True, True, True)
    history_length: int = 50  # T
    item_width: int = 32
    hidden: tuple[int, ...] = (64, 32, 32)
    dropout: float = 0.2
    negatives: int = 4  # items drawn for each click, protocol "next"
    positions: int | None = None  # S of a packed row; None: what costs least (`best_positions`)
    batch_positions: int = 1024  # S times the rows of a batch
    pretraining: TrainConfig | None = None  # None becomes the protocol's in DIN_TRAINING
    incremental: TrainConfig = field(default_factory=lambda: TrainConfig(10, learning_rate=1e-3, weight_decay=0.1))
    basis: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=3, learning_rate=1e-3))
    learning: str = "joint"  # f, Theta and U at once (`rehearsal`); "progressive": Eq. 5, then Eq. 7, as in the paper
    shared: float = 0.3  # joint: weight of f's own loss beside the personal models'
    offset_pull: float = PULL  # joint: precision of the prior of the users' offsets in the cloud
    closing: TrainConfig | None = None  # joint: at the end simulated devices teach f; None becomes 2 slower epochs
    closing_beta: float | None = None  # joint: their weight; 0 leaves these epochs out; None becomes CLOSING_BETA's
    memory: str = "all"  # what devices train on: "all" that their users ever did, or the "rounds" alone
    rehearsal: float = (
        0.4  # progressive: newest share of the pretraining half on which the basis is learned before f sees it
    )
    simulate: bool = True  # progressive: users have an offset of their own while the first basis is learned
    beta: float = 0.1  # weight of the teachers in Eq. 5 and 7
    fleet: FleetConfig | None = None  # how devices train; None becomes `PULL` a row, and steps to its measure
    after_upgrade: str | None = None  # "rebase", "keep" or "reset" vectors; None: what the way of learning asks for
    upload_share: float = 1.0  # of the devices, whose vectors reach the cloud
    upload_noise: float = 0.0  # standard deviation of Gaussian noise on each float of an uploaded vector
    precision: str = "float32"
    runtime: str = "auto"

    def __post_init__(self) -> None:
        if self.protocol not in ("next", "liked"):
            raise ValueError(f"protocol: expected 'next' or 'liked', got {self.protocol!r}")
        at_least_one(rounds=self.rounds, batch_positions=self.batch_positions, negatives=self.negatives)
        at_least_one(metapatch_length=self.metapatch_length, history_length=self.history_length)
        a_share(dropout=self.dropout)
        if self.pretraining is None:
            object.__setattr__(self, "pretraining", DIN_TRAINING[self.protocol])
        if self.closing is None:
            rate = self.pretraining.learning_rate / 3
            object.__setattr__(self, "closing", replace(self.pretraining, epochs=2, learning_rate=rate, patience=0))
        if self.fleet is None:
            pull = PULL * candidates_of(self.protocol, self.negatives)
            object.__setattr__(self, "fleet", FleetConfig(pull=pull, learning_rate=0.01, gate_margin=-0.02))
        if self.closing_beta is None:
            object.__setattr__(self, "closing_beta", CLOSING_BETA[self.protocol])
        if self.split not in ("halves", "time"):
            raise ValueError(f"split: expected 'halves' or 'time', got {self.split!r}")
        if self.learning not in ("joint", "progressive"):
            raise ValueError(f"learning: expected 'joint' or 'progressive', got {self.learning!r}")
        if self.memory not in ("all", "rounds"):
            raise ValueError(f"memory: expected 'all' or 'rounds', got {self.memory!r}")
        if self.after_upgrade not in (None, "rebase", "keep", "reset"):
            raise ValueError(f"after_upgrade: expected 'rebase', 'keep', 'reset' or None, got {self.after_upgrade!r}")
        if self.precision not in ("float32", "float16"):
            raise ValueError(f"precision: expected 'float32' or 'float16', got {self.precision!r}")
        if self.runtime not in ("auto", *MODULES):
            raise ValueError(f"runtime: expected one of auto, {', '.join(MODULES)}, got {self.runtime!r}")
        if not (0.0 < self.upload_share <= 1.0 and 0.0 <= self.upload_noise < math.inf):
            raise ValueError(
                "upload_share, upload_noise: expected a share in (0, 1] and 0 or more, "
                f"got {self.upload_share} and {self.upload_noise}"
            )
        if self.devices and (self.upload_share < 1.0 or self.upload_noise):
            raise ValueError(f"devices: expected 0, since only a fleet leaves out or blurs uploads, got {self.devices}")
        for name in ("shared", "offset_pull", "beta", "closing_beta"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if not any(self.junctions):
            raise ValueError(f"junctions: expected a patch at one of them at least, got {self.junctions}")
        if self.positions is not None:
            at_least_one(positions=self.positions)
        if self.devices < 0:
            raise ValueError(f"devices: expected 0 or more, got {self.devices}")
        if not 0.0 < self.rehearsal < 1.0:
            raise ValueError(f"rehearsal: expected a share in (0, 1), got {self.rehearsal}")

    @property
    def policy(self) -> str:
        """What happens to a vector when a new bundle comes. After joint learning, whose U has never seen a vector, it
        begins again at U(0, u); otherwise U(theta, u) takes it over."""
        return self.after_upgrade or ("reset" if self.learning == "joint" else "rebase")

    def training(self) -> dccl_pb2.Training:
        """The defaults that travel to phones, the same as the fleet's."""
        settings = {name: getattr(self.fleet, name) for name in _TRAVEL}
        return dccl_pb2.Training(negatives=self.negatives if self.protocol == "next" else 0, **settings)

    def with_devices_of(self, manifest: dccl_pb2.Manifest) -> "DcclConfig":
        """The same with devices that do what those with a bundle do: T, B and `training` are its manifest's."""
        training = manifest.training
        settings = {name: getattr(training, name) for name in _TRAVEL}
        return replace(
            self,
            fleet=replace(self.fleet, batch=manifest.train_batch, **settings),
            history_length=manifest.history_length,
            negatives=training.negatives or self.negatives,  # 0 where the log has labels
        )


def split_log(log: InteractionLog, config: DcclConfig) -> Split:
    """The phases of a run; under "next" nothing is learned from where a user has touched every item."""
    if config.split == "time":
        split = split_by_time(log, config.rounds, protocol=config.protocol)
    else:
        split = (split_next if config.protocol == "next" else split_liked)(log, config.rounds)
    return with_negatives_left(log, split) if config.protocol == "next" else split


def joined(split: Split, name: str) -> Span:
    """The span called "pretrain", "rounds" (all of them) or "all" (both)."""
    spans = {
        "pretrain": split.pretrain,
        "rounds": Span(split.rounds[0].start, split.rounds[-1].stop),
        "all": Span(split.pretrain.start, split.rounds[-1].stop),
    }
    return spans[name]


def training_data(log: InteractionLog, config: DcclConfig, span: Span, seed: int) -> TrainingData:
    """The samples of a span, in the sizes of a run."""
    candidates = candidates_of(config.protocol, config.negatives)
    positions = config.positions or best_positions(span, config.history_length, candidates)
    return TrainingData(
        log,
        span,
        config.protocol,
        config.history_length,
        positions=positions,
        batch_rows=max(1, config.batch_positions // positions),
        negatives=config.negatives,
        seed=seed,
    )


def device_data(log: InteractionLog, config: DcclConfig, split: Split, round_number: int) -> list[TrainingData]:
    """What devices have logged by a round, phase by phase: their users' whole past, or the rounds alone.

    Args:
      log: all interactions.
      config: its `memory` decides.
      split: of the log.
      round_number: from 0.
    """
    past = [split.pretrain] if config.memory == "all" else []
    return [training_data(log, config, span, config.seed + 100) for span in (*past, *split.rounds[: round_number + 1])]


def untrained(log: InteractionLog, config: DcclConfig) -> CloudModel:
    """A model of the configuration's sizes; set Keras's seed before."""
    return CloudModel.for_data(
        log.catalogue,
        log.users,
        length=config.metapatch_length,
        bottlenecks=config.bottlenecks,
        junctions=config.junctions,
        history_length=config.history_length,
        history_labels=config.protocol == "liked",
        item_width=config.item_width,
        hidden=config.hidden,
        dropout=config.dropout,
    )


def evaluators(log: InteractionLog, split: Split, config: DcclConfig) -> tuple[Evaluator, Evaluator]:
    """The judges of validation, by which training stops, and of test."""
    if config.protocol == "next":
        return (
            NextEvaluator(log, split.valid, config.history_length, seed=config.seed + 1),
            NextEvaluator(log, split.test, config.history_length, seed=config.seed, full=True),
        )
    return tuple(LikedEvaluator(log, span, config.history_length) for span in (split.valid, split.test))

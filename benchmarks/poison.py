"""What poisoned or noisy vectors do to the model that is distilled from them; and each defence of `dccl_tf.trust`.

  python benchmarks/poison.py --dataset=ml-100k --protocol=liked --seeds=0,1,2
  python benchmarks/poison.py --dataset=ml-1m --data_dir=ml-1m.zip --protocol=next --noises=2,8,32

For each seed: a model learns the first half, all devices train their vectors on it, a share of the vectors is replaced
(random: another direction, as long as the median vector; flipped: its negative; scaled: 100 times itself, within the
norm that `Ingest` accepts), and the cloud learns from what it got: by Eq. 5 (--stage=distill), or anew by joint
learning. Poisoned devices claim a gain of one nat; `gain` is the cloud's own replay of the held-out clicks
(`trust.replayed`), or what broken but honest devices would have reported. With --noises all devices are honest and
private: each vector is cut to the median vector's norm and gets noise, as by `device_runtime.UploadNoise`.

Printed: metrics on test users; differences that poison makes, paired by user and seed, with 95% intervals over users;
and what the order of the batches alone does, which is the noise to hold them against. Each arm is kept in --work_dir.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from dccl_tf import fleet, run_config
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import InteractionLog
from dccl_tf.data.storage import log_identity
from dccl_tf.evaluate import UserValues, validation
from dccl_tf.fleet import FleetVectors
from dccl_tf.momodistill import distill_cloud
from dccl_tf.progress import progress
from dccl_tf.real_devices import device_id
from dccl_tf.rehearsal import Rehearsal, learn_jointly
from dccl_tf.report import jsonable
from dccl_tf.run_config import DcclConfig
from dccl_tf.stages import Stages
from dccl_tf.study.statistics import difference, summary
from dccl_tf.teachers import PersonalModels, Uploads, personal_models
from dccl_tf.trust import Trust, replayed
from dccl_tf.vectors import Limits, UploadedVectors
from scripts import flags_data, programs

_PROTOCOL = flags.DEFINE_enum("protocol", "liked", ["next", "liked"], "What the samples are.")
_STAGE = flags.DEFINE_enum("stage", "distill", ["distill", "rehearse"], "How the cloud learns from the vectors.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Whole numbers with commas.")
_SHARES = flags.DEFINE_list("shares", ["0.01", "0.3"], "Of the vectors that are poisoned.")
_NOISES = flags.DEFINE_list("noises", [], "Multipliers of upload noise; see dccl-device privacy.")
_DEFENCES = flags.DEFINE_list("defences", ["none", "clip", "gain", "confidence", "all"], "Which to try.")
_BETA = flags.DEFINE_float("beta", 0.1, "Weight of the teachers.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "Of --stage=distill; by default the run's.")
_WORK_DIR = flags.DEFINE_string("work_dir", "runs/poison", "What is done lies here and is found again.")
_OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the figures.")

KINDS = ("random", "flipped", "scaled")
DEFENCES = {
    "none": Trust(),
    "clip": Trust(norm_clip=3.0),
    "gain": Trust(least_gain=-0.02),
    "confidence": Trust(confidence=True),
    "all": Trust(norm_clip=3.0, least_gain=-0.02, confidence=True),
}
METRICS = {"liked": ("macro_auc/liked", "log_loss/liked"), "next": ("ndcg@10/neg100", "ndcg@10/full")}


@dataclass(frozen=True)
class Arm:
    """One way to learn."""

    kind: str  # one of KINDS, "clean", "noise", or "untaught"
    share: float = 0.0  # of vectors that are poisoned
    noise: float = 0.0  # multiplier, of kind "noise"
    defence: str = "none"
    order: int = 1  # added to the seed of the batches' order

    def __str__(self) -> str:
        poison = f"{self.share:.0%} {self.kind}" if self.share else self.kind
        poison += f" {self.noise:g}" if self.noise else ""
        return f"{poison}, {self.defence}" + (", other order" if self.order != 1 else "")


def arms() -> Iterator[Arm]:
    yield from (Arm("untaught"), Arm("clean", order=2))
    for defence in _DEFENCES.value:
        yield Arm("clean", defence=defence)
        yield from (Arm(kind, float(share), defence=defence) for share in _SHARES.value for kind in KINDS)
    yield from (Arm("noise", noise=float(multiplier)) for multiplier in _NOISES.value)


class Seed:
    """One seed's shipped model and vectors, and what is learned from them."""

    def __init__(self, log: InteractionLog, seed: int) -> None:
        config = DcclConfig(protocol=_PROTOCOL.value, seed=seed, devices=0, beta=_BETA.value)
        if _EPOCHS.value:
            config = replace(config, incremental=replace(config.incremental, epochs=_EPOCHS.value))
        self.log, self.config = log, config
        self.split = run_config.split_log(log, config)
        self.valid, self.test = run_config.evaluators(log, self.split, config)
        self.seen = run_config.device_data(log, config, self.split, 0)
        folder = Path(_WORK_DIR.value) / f"{flags.FLAGS.dataset}-{_PROTOCOL.value}-seed{seed}"
        self.stages = Stages(folder, {"data": log_identity(log)})
        self.cloud = self.stages.cloud("shipped", self._shipped)
        vectors = self.stages.arrays("vectors", lambda: asdict(fleet.personalize(self.cloud, self.seen, config.fleet)))
        self.devices = FleetVectors(**vectors)

    def _shipped(self) -> CloudModel:
        model = Rehearsal.untrained(self.log, self.config)
        learn_jointly(model, self.log, self.config, self.split.pretrain, self.valid)
        return model.cloud

    def values(self, arm: Arm) -> UserValues:
        name = f"{_STAGE.value}-beta{_BETA.value}-epochs{_EPOCHS.value}-{arm}".replace(" ", "-").replace(",", "")
        return self.stages.arrays(name, partial(self._learn, arm))

    def _learn(self, arm: Arm) -> UserValues:
        config, log = self.config, self.log
        teachers = None if arm.kind == "untaught" else self.teachers(arm)
        if _STAGE.value == "rehearse":
            seed = replace(config, seed=config.seed + arm.order - 1)
            model = Rehearsal.untrained(log, seed)
            learn_jointly(model, log, seed, run_config.joined(self.split, "all"), self.valid, teachers)
            student = model.cloud
        else:
            keras.utils.set_random_seed(config.seed + arm.order)  # before the copy, which draws dropout's seeds
            student = self.cloud.copy()
            data = run_config.training_data(log, config, self.split.rounds[0], config.seed + arm.order)
            beta = config.beta if teachers else 0.0
            distill_cloud(
                student,
                data,
                teachers or self.teachers(Arm("clean")),
                config.incremental,
                beta=beta,
                validate=partial(validation, self.valid, student),
            )
        values = self.test(student)
        keras.backend.clear_session()
        return {metric: values[metric] for metric in METRICS[_PROTOCOL.value]}

    def teachers(self, arm: Arm) -> PersonalModels:
        uploaded = self.uploads(arm)
        trust = DEFENCES[arm.defence]
        if trust.least_gain is not None:
            uploaded = replayed(uploaded, self.cloud, self.seen, self.config.fleet)
        return personal_models([Uploads(self.cloud, uploaded)], len(self.log.users), trust)

    def uploads(self, arm: Arm) -> UploadedVectors:
        """What the store would hold."""
        devices = self.devices
        owners = np.flatnonzero(devices.samples > 0)
        vectors = devices.vectors[owners].copy()
        random = np.random.default_rng([self.config.seed, 7])
        bad = random.permutation(len(owners))[: round(arm.share * len(owners))]
        if arm.kind in KINDS:
            vectors[bad] = poisoned(vectors, bad, arm.kind, random)
        if arm.noise:
            vectors = private(vectors, arm.noise, random)
        cloud_loss, personal_loss = devices.cloud_loss[owners].copy(), devices.personal_loss[owners].copy()
        personal_loss[bad] = cloud_loss[bad] - 1.0
        names = [device_id(user) for user in owners]
        sequences = np.ones(len(owners), np.int64)
        facts = (devices.samples[owners], devices.gates[owners], cloud_loss, personal_loss, sequences)
        return UploadedVectors(names, vectors, *facts)


def poisoned(vectors: np.ndarray, bad: np.ndarray, kind: str, random: np.random.Generator) -> np.ndarray:
    """The vectors that come instead of the rows `bad` of `vectors`."""
    if kind == "flipped":
        return -vectors[bad]
    if kind == "random":
        noise = random.standard_normal((len(bad), vectors.shape[1]))
        length = np.median(np.linalg.norm(vectors, axis=1))
        return (noise / np.linalg.norm(noise, axis=1, keepdims=True) * length).astype(np.float32)
    large = 100.0 * vectors[bad]
    return large * np.minimum(1.0, 0.99 * Limits().norm / np.linalg.norm(large, axis=1, keepdims=True))


def private(vectors: np.ndarray, multiplier: float, random: np.random.Generator) -> np.ndarray:
    """What devices with upload noise of this multiplier send, cut to the median of their norms."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    clip = float(np.median(norms))
    noise = multiplier * clip * random.standard_normal(vectors.shape)
    return (vectors * np.minimum(1.0, clip / norms) + noise).astype(np.float32)


def main(_: list[str]) -> None:
    log, _ = flags_data.load_log(flags.FLAGS)
    seeds, every = [int(seed) for seed in _SEEDS.value], list(arms())
    found: dict[Arm, dict[int, UserValues]] = {arm: {} for arm in every}
    for seed in seeds:
        one = Seed(log, seed)
        for arm in progress(every, f"seed {seed}", unit="arm", even=False):
            found[arm][seed] = one.values(arm)
    table = {}
    for metric in METRICS[_PROTOCOL.value]:
        by_arm = {arm: {seed: values[metric] for seed, values in one.items()} for arm, one in found.items()}
        table[metric] = rows = {}
        print(f"\n{metric}, {len(seeds)} seeds, --stage={_STAGE.value}, beta {_BETA.value}: mean, and what poison adds")
        for arm, values in by_arm.items():
            clean = Arm("clean", defence=arm.defence if arm.share else "none")  # noise meets no defence
            row = rows[str(arm)] = {"mean": asdict(summary(values))}
            line = f"  {arm!s:32} {row['mean']['mean']:.4f}"
            if arm != clean:
                row["difference"] = asdict(change := difference(values, by_arm[clean]))
                spread = "" if change.spread is None else f", spread over seeds {change.spread:.4f}"
                line += f"  {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]{spread}"
            print(line)
    if _OUTPUT.value:
        about = {"dataset": flags.FLAGS.dataset, "source": log.source, "protocol": _PROTOCOL.value, "seeds": seeds}
        about |= {"stage": _STAGE.value, "beta": _BETA.value, "epochs": _EPOCHS.value}
        about |= programs.provenance("benchmarks/poison.py") | {"metrics": table}
        Path(_OUTPUT.value).write_text(json.dumps(jsonable(about), indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)

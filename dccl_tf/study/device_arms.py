"""Ablations on the device: one cloud model, learned from everything, and devices that train in different ways on it.

The cloud model is DCCL-m without teachers. All arms share it, so one cell holds a whole sweep and costs one training
and a fleet an arm. `sweeps` says which arms there are and what tables show them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from dccl_tf import fleet
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import InteractionLog
from dccl_tf.evaluate import Evaluator, Vectors, validation
from dccl_tf.fleet import FleetConfig
from dccl_tf.rehearsal import Rehearsal, learn_jointly
from dccl_tf.run_config import DcclConfig, device_data, evaluators, joined, split_log
from dccl_tf.stages import Stages
from dccl_tf.study.cells import Changes
from dccl_tf.study.finetuning import as_free_patches, fine_tuned, free_patches
from dccl_tf.study.settings import changed
from dccl_tf.training_data import TrainingData

STARTS = ("encoder", "zero", "mean", "random")
LEARNS = ("metapatch", "patches", "last", "head")
CLOUD_ALONE = "cloud model alone"


@dataclass(frozen=True)
class DeviceArm:
    """One way of training a device."""

    fleet: Changes = ()  # settings of `FleetConfig` that differ from the run's
    start: str = "encoder"  # where vectors begin: U(0, u), 0, the users' mean of U(0, u), or by chance under the prior
    learns: str = "metapatch"  # what a device trains, see `finetuning`
    rates: tuple[float, ...] = ()  # learning rates, and
    pulls: tuple[float, ...] = ()  # precisions of the prior, of which validation takes the best pair
    swapped: bool = False  # a control: each device then has the vector and the gate of another

    def __post_init__(self) -> None:
        if self.start not in STARTS or self.learns not in LEARNS:
            raise ValueError(f"start, learns: expected one of {STARTS} and {LEARNS}, got {self.start}, {self.learns}")

    def settings(self, config: FleetConfig) -> list[FleetConfig]:
        """What to try, one setting or every pair."""
        config = changed(config, self.fleet)
        pairs = [(rate, pull) for rate in self.rates for pull in self.pulls]
        return [replace(config, learning_rate=rate, pull=pull) for rate, pull in pairs] or [config]


def run_devices(
    log: InteractionLog, config: DcclConfig, arms: Mapping[str, DeviceArm], folder: Path, identity: str
) -> tuple[Evaluator, dict[str, tuple[CloudModel, Vectors | None]], dict[str, Any]]:
    """Learns the cloud model, and personalises every device by every arm.

    Returns:
      The judge of test, the models by arm, and facts: floats that a device trains, and the setting that was taken with
      its validation.
    """
    split = split_log(log, config)
    valid, test = evaluators(log, split, config)
    told = {"data": identity, "arms": {name: asdict(arm) for name, arm in arms.items()}}
    stages = Stages(folder, asdict(config) | told)

    def learned() -> CloudModel:
        model = Rehearsal.untrained(log, config)
        learn_jointly(model, log, config, joined(split, "all"), valid, checkpoint_dir=stages.checkpoints("joint"))
        return model.cloud

    cloud = stages.cloud("joint", learned)
    data = device_data(log, config, split, config.rounds - 1)
    models: dict[str, tuple[CloudModel, Vectors | None]] = {CLOUD_ALONE: (cloud, None)}
    facts: dict[str, Any] = {}
    for number, (name, arm) in enumerate(arms.items()):
        logging.info("Devices: %s", name)
        theirs, start = _beginning(cloud, arm, log, config)
        tried = []
        for trial, setting in enumerate(arm.settings(config.fleet)):
            make = partial(_personal, theirs, start, data, setting)
            vectors = Vectors(**stages.arrays(f"arm{number}-{trial}", make))
            tried.append((validation(valid, theirs, vectors), setting, vectors))
        worth, taken, vectors = max(tried, key=lambda one: one[0])
        if arm.swapped:
            others = np.random.default_rng(config.seed).permutation(len(log.users))
            vectors = Vectors(vectors.theta[others], vectors.gates[others])
            worth = validation(valid, theirs, vectors)
        models[name] = theirs, vectors
        facts[name] = {
            "floats": theirs.metapatch.length,
            "open": float(vectors.gates.mean()),
            "validation": worth,
            "learning_rate": taken.learning_rate,
            "pull": taken.pull,
        }
    return test, models, {"arms": facts}


def _beginning(
    cloud: CloudModel, arm: DeviceArm, log: InteractionLog, config: DcclConfig
) -> tuple[CloudModel, np.ndarray]:
    """The model that devices of an arm train, and where their vectors begin [U, P]."""
    starts = cloud.encoder.start(tf.constant(log.users.profile)).numpy()
    if arm.learns == "patches":
        return free_patches(cloud), as_free_patches(cloud, starts)
    if arm.learns != "metapatch":
        tuned = fine_tuned(cloud, arm.learns)
        return tuned, np.zeros((len(starts), tuned.metapatch.length), np.float32)
    random = np.random.default_rng(config.seed)
    begin = {
        "encoder": lambda: starts,
        "zero": lambda: np.zeros_like(starts),
        "mean": lambda: np.tile(starts.mean(axis=0), (len(starts), 1)),
        "random": lambda: random.normal(0.0, config.fleet.pull**-0.5, starts.shape).astype(np.float32),
    }
    return cloud, begin[arm.start]()


def _personal(
    cloud: CloudModel, start: np.ndarray, data: list[TrainingData], config: FleetConfig
) -> dict[str, np.ndarray]:
    """Fields of the devices' `Vectors`."""
    devices = fleet.personalize(cloud, data, config, start=start)
    return {"theta": devices.vectors, "gates": devices.gates}

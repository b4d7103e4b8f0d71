"""Learning the cloud model from data alone: "model over data", Eq. 4.

It makes the first cloud model of Algorithm 1 and, continued on later data, the baseline that any gain of devices
must be measured against.
"""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.losses import cross_entropy, weighted_sum
from dccl_tf.trainer import Batch, History, LossFunction, TrainConfig, fit
from dccl_tf.training_data import TrainingData


def pretrain(
    cloud: CloudModel,
    data: TrainingData,
    config: TrainConfig,
    *,
    validate: Callable[[], float] | None = None,
    checkpoint_dir: Path | None = None,
    log_dir: Path | None = None,
    name: str = "pretrain",
) -> History:
    """Trains f of `cloud` in place on `data` (arguments as in `trainer.fit`)."""
    return fit(
        cloud,
        cloud.din.trainable_variables,
        data_loss(cloud),
        data,
        config,
        steps=data.steps,
        validate=validate,
        checkpoint_dir=checkpoint_dir,
        log_dir=log_dir,
        name=name,
    )


def data_loss(cloud: CloudModel) -> LossFunction:
    """Pointwise cross-entropy of f."""

    def loss(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        logits = cloud(batch, training=True)
        return weighted_sum(cross_entropy(logits, batch["targets"]), batch["weights"])

    return loss

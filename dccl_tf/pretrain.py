"""Learning the cloud model from data alone: "model over data", Eq. 4.

It makes the first cloud model of Algorithm 1 and, continued on later data, the baseline that any gain of devices
must be measured against.
"""

from typing import Unpack

import keras
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.losses import cross_entropy, weighted_sum
from dccl_tf.trainer import Batch, FitOptions, History, LossFunction, TrainConfig, fit
from dccl_tf.training_data import TrainingData


def pretrain(cloud: CloudModel, data: TrainingData, config: TrainConfig, **options: Unpack[FitOptions]) -> History:
    """Trains f of `cloud` in place on `data` (options as in `trainer.fit`)."""
    variables = cloud.din.trainable_variables
    return fit(cloud, variables, data_loss(cloud), data, config, steps=data.steps, **{"name": "pretrain"} | options)


def data_loss(model: keras.Model) -> LossFunction:
    """Pointwise cross-entropy of f, or of any model of its contract."""

    def loss(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(batch, training=True)
        return weighted_sum(cross_entropy(logits, batch["targets"]), batch["weights"])

    return loss

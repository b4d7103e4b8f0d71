"""MoMoDistill: the cloud learns from all personal models at once (Section 3.3).

First f by Eq. 5, then the basis Theta and the encoder U by Eq. 7 with f fixed. `teachers` says where the personal
models come from.
"""

from typing import Unpack

import keras
import numpy as np
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.losses import cross_entropy, weighted_sum
from dccl_tf.teachers import PersonalModels, Teachers, refuse_own_student
from dccl_tf.trainer import Batch, FitOptions, History, LossFunction, TrainConfig, fit
from dccl_tf.training_data import TrainingData

__all__ = ["BasisLearner", "Teachers", "basis_loss", "cloud_loss", "distill_cloud", "learn_basis"]


def distill_cloud(
    cloud: CloudModel,
    data: TrainingData,
    teachers: PersonalModels,
    config: TrainConfig,
    *,
    beta: float,
    **options: Unpack[FitOptions],
) -> History:
    """Eq. 5: trains f of `cloud` in place on cross-entropy + beta * KL(teacher || f).

    Raises:
      ValueError: a teacher is made of `cloud` itself, whose weights are about to change.
    """
    refuse_own_student(teachers, cloud)
    variables, loss = cloud.din.trainable_variables, cloud_loss(cloud, teachers, beta)
    return fit(cloud, variables, loss, data, config, steps=data.steps, **{"name": "distill"} | options)


def cloud_loss(cloud: CloudModel, teachers: PersonalModels, beta: float) -> LossFunction:
    """The loss of Eq. 5."""

    def loss(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        logits = cloud(batch, training=True)
        values = cross_entropy(logits, batch["targets"]) + beta * teachers.divergence(batch, logits)
        return weighted_sum(values, batch["weights"])

    return loss


def learn_basis(
    cloud: CloudModel,
    data: TrainingData,
    teachers: PersonalModels | None,
    config: TrainConfig,
    *,
    beta: float = 0.0,
    simulate: bool = True,
    pull: float = 10.0,
    **options: Unpack[FitOptions],
) -> History:
    """Eq. 7: trains Theta and U of `cloud` in place, f fixed.

    The proxy of device m is f with the patches Theta * U(theta_m, u_m). Before the first round there are no
    vectors and theta is 0 (Algorithm 1).

    With `simulate` each user also has an offset of its own, theta_m' = U(theta_m, u_m) + delta_m, learned jointly
    and thrown away: a rehearsal of what devices will do with the basis. Without it the basis only knows what
    profiles explain; with it, the directions in which users differ. A user's n samples carry
    0.5 * pull / n * |delta_m|^2 each, the same prior as on the device.

    Args:
      cloud: f, Theta and U; Theta and U change.
      data: the samples.
      teachers: the devices' models, or None in the first round.
      config: epochs and rates.
      beta: weight of KL(teacher || proxy); without teachers it has no effect.
      simulate: whether users have an offset of their own.
      pull: precision of the offsets' prior.
      **options: as in `trainer.fit`.

    Raises:
      ValueError: a teacher is made of `cloud` itself, or see `check_lengths`.
    """
    refuse_own_student(teachers, cloud)
    check_lengths(teachers, cloud)
    model = BasisLearner(cloud, users=len(data.log.users) if simulate else 0)
    variables = [*cloud.metapatch.trainable_variables, *cloud.encoder.trainable_variables, *model.trainable_offsets]
    loss = basis_loss(model, teachers, beta, pull / data.samples_of_users())
    return fit(model, variables, loss, data, config, steps=data.steps, **{"name": "basis"} | options)


def check_lengths(teachers: PersonalModels | None, cloud: CloudModel) -> None:
    """Raises ValueError if the teachers' vectors are of another length than K: U maps K floats to K."""
    if teachers and any(taught.metapatch.length != cloud.metapatch.length for taught in teachers.clouds):
        lengths = sorted({taught.metapatch.length for taught in teachers.clouds})
        raise ValueError(
            f"teachers: expected vectors of the student's {cloud.metapatch.length} floats, got {lengths}; "
            "learn anew (rehearsal), which asks for no length"
        )


class BasisLearner(keras.Model):
    """The proxies of Eq. 7, with an offset for each user while the basis is learned."""

    def __init__(self, cloud: CloudModel, users: int) -> None:
        super().__init__()
        self.cloud = cloud
        self.offsets = (
            self.add_weight(name="offsets", shape=(users, cloud.metapatch.length), initializer="zeros")
            if users
            else None
        )
        self.built = True

    @property
    def trainable_offsets(self) -> list[keras.Variable]:
        return [] if self.offsets is None else [self.offsets]

    def call(self, batch: Batch, theta: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits [B, S, C] of the proxies, and 0.5 * |delta|^2 [B] of each row's user."""
        if theta is None:
            start = self.cloud.encoder.start(batch["profile"])
        else:
            start = self.cloud.encoder(theta, batch["profile"])
        if self.offsets is None:
            return self.cloud(batch, theta=start), tf.zeros(tf.shape(start)[:1])
        delta = tf.gather(tf.convert_to_tensor(self.offsets), batch["users"])
        return self.cloud(batch, theta=start + delta), 0.5 * tf.reduce_sum(delta * delta, axis=-1)


def basis_loss(model: BasisLearner, teachers: PersonalModels | None, beta: float, pull: np.ndarray) -> LossFunction:
    """The loss of Eq. 7; pull [U] is what each sample of a user carries of the offsets' prior."""
    pull = tf.constant(pull, tf.float32)  # [U]

    def loss(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        logits, offset = model(batch, teachers and teachers.theta(batch))
        values = cross_entropy(logits, batch["targets"]) + (tf.gather(pull, batch["users"]) * offset)[:, None, None]
        if teachers and beta:
            values += beta * teachers.divergence(batch, logits)
        return weighted_sum(values, batch["weights"])

    return loss

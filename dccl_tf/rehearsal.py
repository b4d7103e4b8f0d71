"""Rehearsal: f, the basis and the encoder learn together while every user already has a vector, as devices will.

Eq. 7 learns the basis for an f that is finished. Such an f has no use for a vector: what differs between users it
has explained away, badly, by what they share. Here each user m has an offset delta_m while the cloud trains, the
personal model is f with the patches Theta * (U(0, u_m) + delta_m), and its loss teaches all of them at once.
The offsets are random effects: f learns what remains when users are allowed to differ, and the basis the
directions in which they do. They are thrown away; devices find their own vectors on their own clicks.

    loss = CE(personal) + shared * CE(f) + beta * (KL(teacher || personal) + shared * KL(teacher || f)) + prior

`shared` keeps f good for whom no vector is known. The terms with beta are Eq. 5 and 7. The students never see the
teachers' vectors: those have learned the very clicks that are learned here, and a student that may read them trusts
them too much (docs/evaluation.md).

At the end (`learn_jointly`) the fleet finds the vectors that devices will find on this model, and these personal
models teach f and the personal models by the same loss: MoMoDistill with teachers in the very basis that ships.
"""

import math
from functools import partial
from typing import Unpack

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from dccl_tf import fleet
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import InteractionLog, Span
from dccl_tf.evaluate import Evaluator, Vectors, validation
from dccl_tf.losses import bernoulli_kl, cross_entropy, weighted_sum
from dccl_tf.run_config import DcclConfig, training_data, untrained
from dccl_tf.teachers import PersonalModels, Teachers, refuse_own_student
from dccl_tf.trainer import Batch, FitOptions, History, LossFunction, TrainConfig, fit
from dccl_tf.training_data import TrainingData


class Rehearsal(keras.Model):
    """A cloud model whose users each have an offset of their own beside U(0, u)."""

    def __init__(self, cloud: CloudModel, users: int) -> None:
        super().__init__()
        self.cloud = cloud
        self.offsets = self.add_weight(name="offsets", shape=(users, cloud.metapatch.length), initializer="zeros")
        self.built = True

    @classmethod
    def untrained(cls, log: InteractionLog, config: DcclConfig) -> "Rehearsal":
        """A new one in the sizes of a run."""
        keras.utils.set_random_seed(config.seed + 1)
        return cls(untrained(log, config), len(log.users))

    def call(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logits [B, S, C] of the personal models and of f, and |delta|^2 [B]."""
        delta = tf.gather(tf.convert_to_tensor(self.offsets), batch["users"])
        personal = self.cloud.encoder.start(batch["profile"]) + delta
        shared, own = self.cloud.shared_and_personal(batch, personal, training=True)
        return own, shared, tf.reduce_sum(delta * delta, axis=-1)

    @property
    def learned(self) -> list[keras.Variable]:
        """What learns: f, Theta, U and the offsets."""
        parts = (self.cloud.din, self.cloud.metapatch, self.cloud.encoder)
        return [*(variable for part in parts for variable in part.trainable_variables), self.offsets]

    def vectors(self, profile: np.ndarray) -> np.ndarray:
        """U(0, u) + delta of all users, [U, K]; profile int32 [U, P]."""
        return (self.cloud.encoder.start(tf.constant(profile)) + self.offsets.value).numpy()

    def validation(self, judge: Evaluator, profile: np.ndarray) -> float:
        """What training stops by: the personal models' `evaluate.validation`."""
        return validation(judge, self.cloud, Vectors(self.vectors(profile), np.ones(len(profile), np.float32)))


def learn_jointly(
    model: Rehearsal,
    log: InteractionLog,
    config: DcclConfig,
    span: Span,
    judge: Evaluator,
    teachers: PersonalModels | None = None,
    **options: Unpack[FitOptions],
) -> History:
    """Learns the samples of a span with the settings of a run: `rehearse`, which stops by the personal models'
    validation, and again with the model's simulated devices for teachers, which counts only if validation of f and of
    the personal models together is the better for it.

    Args:
      model: what learns, in place.
      log: all interactions.
      config: of the run.
      span: the positions to learn from.
      judge: of validation.
      teachers: as for `rehearse`, in its first part.
      **options: as in `trainer.fit`.

    Returns:
      The first part's.
    """
    data, profile = training_data(log, config, span, config.seed + 1), log.users.profile
    personal = partial(model.validation, judge, profile)
    options = {"name": "rehearse", "validate": personal} | options
    settings = {"shared": config.shared, "teachers": teachers, "beta": config.beta}
    history = rehearse(model, data, config.pretraining, pull=config.offset_pull, **settings, **options)
    if not config.closing_beta:
        return history

    def both() -> float:
        return (personal() + validation(judge, model.cloud)) / 2

    before = model.get_weights()
    samples = training_data(log, config, span, config.seed + 100)
    vectors = fleet.personalize(model.cloud, [samples], config.fleet).vectors
    model.offsets.assign(vectors - model.cloud.encoder.start(tf.constant(profile)))
    worth, own = both(), Teachers(model.cloud.copy(), vectors, np.ones(len(profile), bool))
    settings = {"shared": 1.0, "teachers": own, "beta": config.closing_beta}
    options |= {"name": f"{options['name']}-closing", "validate": both}
    if options.get("checkpoint_dir"):
        options["checkpoint_dir"] /= "closing"
    try:
        closing = rehearse(model, data, config.closing, pull=config.offset_pull, **settings, **options)
        after = max(closing.validation)
    except FloatingPointError as error:
        logging.warning("%s", error)
        after = -math.inf
    if after <= worth:
        logging.info("%s: worth %.4f before and %.4f after, left out", options["name"], worth, after)
        model.set_weights(before)
    return history


def rehearse(
    model: Rehearsal,
    data: TrainingData,
    config: TrainConfig,
    *,
    pull: float,
    shared: float,
    teachers: PersonalModels | None = None,
    beta: float = 0.0,
    **options: Unpack[FitOptions],
) -> History:
    """Trains f, Theta and U of `model.cloud`, and the offsets, in place.

    Args:
      model: what learns.
      data: the samples.
      config: epochs and rates.
      pull: precision of the offsets' prior; a user's n samples carry 0.5 * pull / n * |delta|^2 each.
      shared: weight of f's own loss beside the personal models'.
      teachers: the devices' models, or None before the first round.
      beta: weight of KL(teacher || student) for both students.
      **options: as in `trainer.fit`.

    Raises:
      ValueError: a teacher is made of the student, whose weights are about to change.
    """
    refuse_own_student(teachers, model.cloud)
    loss = joint_loss(model, teachers, beta, shared, pull / data.samples_of_users())
    own = {"steps": data.steps, "undecayed": [model.offsets]}
    return fit(model, model.learned, loss, data, config, **own, **{"name": "rehearse"} | options)


def joint_loss(
    model: Rehearsal, teachers: PersonalModels | None, beta: float, shared: float, pull: np.ndarray
) -> LossFunction:
    """The loss at the top of this module; `pull` [U] is each sample's share of its user's prior."""
    pull = tf.constant(pull, tf.float32)  # [U]

    def loss(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        own, common, squares = model(batch)
        prior = 0.5 * tf.gather(pull, batch["users"]) * squares
        values = cross_entropy(own, batch["targets"]) + shared * cross_entropy(common, batch["targets"])
        values += prior[:, None, None]
        if teachers and beta:
            teacher, weight = teachers.logits(batch)
            values += beta * weight * (bernoulli_kl(teacher, own) + shared * bernoulli_kl(teacher, common))
        return weighted_sum(values, batch["weights"])

    return loss

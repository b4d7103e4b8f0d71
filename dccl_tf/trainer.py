"""The one training loop: every model and every stage of the cloud trains through `fit`.

It runs under the current tf.distribute strategy: each replica sums its losses, the sums are divided by the weight
of the global batch, so one worker and many take the same step. Epoch e of a run depends on (seed, e) alone, hence a
run that was killed continues from its last epoch as if nothing had happened.

What is validated, kept as best and put into the model at the end is the moving average of the weights; the weights
themselves go on training.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import keras
import tensorflow as tf

from dccl_tf.adam import FusedAdam
from dccl_tf.checkpoints import History, Keeper
from dccl_tf.distribution import is_chief, of_chief, split
from dccl_tf.progress import progress
from dccl_tf.weight_average import WeightAverage

Batch = dict[str, tf.Tensor]
LossFunction = Callable[[Batch], tuple[tf.Tensor, tf.Tensor]]  # sum of weighted losses, sum of weights


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to train."""

    epochs: int = 20  # at most
    learning_rate: float = 3e-3  # peak of Adam; falls to 0 along a cosine over all epochs
    weight_decay: float = 0.0  # decoupled (AdamW)
    patience: int = 3  # epochs without a better validation before it stops; 0: never
    averaging: float = 0.3  # epochs over which the weights are averaged that a model is judged by and ends with; 0: off
    jit: bool = False  # compile losses and gradients with XLA: on x86-64 it made a step of DIN ten times slower

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {self.epochs}")
        if not 0.0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate: expected more than 0, got {self.learning_rate}")
        if not 0.0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay: expected 0 or more, got {self.weight_decay}")
        if self.patience < 0:
            raise ValueError(f"patience: expected 0 (never stop early) or more epochs, got {self.patience}")
        if not 0.0 <= self.averaging < float("inf"):
            raise ValueError(f"averaging: expected 0 (off) or more epochs, got {self.averaging}")


class FitOptions(TypedDict, total=False):
    """What a stage hands on to `fit` as it came, described there."""

    validate: Callable[[], float] | None
    checkpoint_dir: Path | None
    log_dir: Path | None
    name: str


def fit(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    loss: LossFunction,
    data: Callable[[int], tf.data.Dataset],
    config: TrainConfig,
    *,
    steps: int,
    undecayed: Sequence[keras.Variable] = (),
    validate: Callable[[], float] | None = None,
    checkpoint_dir: Path | None = None,
    log_dir: Path | None = None,
    name: str = "train",
) -> History:
    """Trains `variables` in place; they end as the best epoch's average (or weights, with `averaging` 0).

    Args:
      model: what owns the state to checkpoint (all its variables).
      variables: those that learn; the rest stay as they are.
      loss: of one batch: the weighted sum and the sum of the weights.
      data: epoch number to that epoch's batches.
      config: epochs, rates, early stopping.
      steps: batches an epoch.
      undecayed: those of `variables` that weight decay leaves alone, such as what has a prior of its own.
      validate: called after each epoch, higher is better; the best epoch's weights, the first of equals, are put back
        at the end.
      checkpoint_dir: where each epoch is saved, and from where a killed run of the same settings continues.
      log_dir: where TensorBoard's events go.
      name: of the stage, for the progress bar and the logs.

    Raises:
      ValueError: there is nothing to learn from, or `checkpoint_dir` holds another training.
      OSError: `checkpoint_dir` cannot be written.
      FloatingPointError: an epoch diverged: its loss, what its last step left, or its validation is not finite; the
        variables are those of the best epoch before.
    """
    if steps < 1:
        raise ValueError(
            f"{name}: expected at least one batch an epoch, got none: this phase of the log has no samples"
        )
    strategy = tf.distribute.get_strategy()
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, decay_steps=config.epochs * steps)
    optimizer = FusedAdam(schedule, weight_decay=config.weight_decay or None)  # None saves a pass over all weights
    optimizer.exclude_from_weight_decay(var_list=list(undecayed))
    optimizer.build(variables)
    average = None
    if config.averaging:
        average = WeightAverage([variable.value for variable in variables], config.averaging * steps)
    train_step = make_train_step(optimizer, variables, loss, config.jit)
    keeper = Keeper(model, variables, optimizer, average, checkpoint_dir, asdict(config) | {"steps": steps})
    history = keeper.history
    chief = is_chief(strategy)
    writer = tf.summary.create_file_writer(str(log_dir / name)) if log_dir and chief else None

    for epoch in range(len(history.loss), config.epochs):
        if history.has_settled(config.patience):
            break
        total, weight = 0.0, 0.0
        batches = split(strategy, data(epoch))
        bar = progress(batches, f"{name} {epoch + 1}/{config.epochs}", total=steps, unit="batch")
        for step, batch in enumerate(bar, start=epoch * steps + 1):
            batch_total, batch_weight = train_step(batch)
            total, weight = total + batch_total, weight + batch_weight
            if average:
                average.update(step)
        mean = float(total) / max(float(weight), 1e-12)
        if not (math.isfinite(mean) and _all_finite(variables)):  # the last step shows in no loss of this epoch
            keeper.restore_best()
            raise FloatingPointError(
                f"{name}: epoch {epoch + 1} diverged (loss {mean}); lower learning_rate (now {config.learning_rate})"
            )
        history.loss.append(mean)
        with keeper.judged():
            if validate is not None:
                history.validation.append(of_chief(strategy, float(validate()) if chief else 0.0))
            if sound := validate is None or math.isfinite(history.validation[-1]):
                keeper.note()
        if not sound:
            keeper.restore_best()
            raise FloatingPointError(
                f"{name}: validation after epoch {epoch + 1} is {history.validation[-1]}, and no epoch is better than "
                "that; give a validation slice with something to judge (for AUC users with both labels), or lower "
                f"learning_rate (now {config.learning_rate})"
            )
        keeper.save()
        if writer:
            with writer.as_default(step=epoch):
                tf.summary.scalar("loss", mean)
                if validate is not None:
                    tf.summary.scalar("validation", history.validation[-1])
    keeper.restore_best()
    return history


def _all_finite(variables: Sequence[keras.Variable]) -> bool:
    return all(bool(tf.reduce_all(tf.math.is_finite(variable.value))) for variable in variables)


def make_train_step(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    loss: LossFunction,
    jit: bool = False,
) -> Callable[[Batch], tuple[tf.Tensor, tf.Tensor]]:
    """One compiled step on a (distributed) batch: from it to the global sums of loss and weight."""
    strategy = tf.distribute.get_strategy()
    targets = [variable.value for variable in variables]

    @tf.function(jit_compile=jit)
    def gradients(batch: Batch) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor | tf.IndexedSlices]]:
        with tf.GradientTape() as tape:
            total, weight = loss(batch)
        return total, weight, tape.gradient(total, targets)

    def replica_step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        total, weight, sums = gradients(batch)
        context = tf.distribute.get_replica_context()
        total, weight = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, weight])
        scale = tf.math.divide_no_nan(1.0, weight)
        # The optimiser adds up the replicas' gradients; divided here, the sum is the global mean's gradient.
        # Scaled before a table's sparse gradient becomes dense: there are fewer rows then.
        optimizer.apply([tf.convert_to_tensor(tf.math.scalar_mul(scale, gradient)) for gradient in sums], variables)
        return total, weight

    @tf.function
    def step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        totals, weights = strategy.run(replica_step, args=(batch,))
        first = strategy.experimental_local_results
        return first(totals)[0], first(weights)[0]

    return step

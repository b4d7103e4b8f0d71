"""The fleet: all devices' personalisation (Eq. 3) at once, each row of a table one device's vector.

It does what docs/protocol.md asks of a device, step by step, on the same samples in the device runtime's own order, so
that the table equals what phones would upload. What lies below the first junction is the same for every epoch and is
computed once; a step is then a few batched matrix products over all devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import tensorflow as tf

from dccl_tf import vector_optimizer
from dccl_tf.cloud_model import CloudModel
from dccl_tf.losses import cross_entropy
from dccl_tf.progress import progress
from dccl_tf.training_data import TrainingData
from dccl_tf.vector_optimizer import VectorState
from device_runtime import heldout_rows, training_schedule


@dataclass(frozen=True)
class FleetConfig:
    """How each device trains; the same values travel to phones in the manifest's `Training`."""

    optimizer: str = "adam"
    learning_rate: float = 0.05
    epochs: int = 10
    pull: float = 10.0  # precision of the prior around the start; a device with n rows adds 0.5 * pull / n * |move|^2
    heldout_fraction: float = 0.2
    gate_margin: float = 0.0
    batch: int = 32  # B
    seed: int = 0
    devices_at_once: int = 256

    def __post_init__(self) -> None:
        vector_optimizer.optimizer(self.optimizer)
        if self.epochs < 0 or self.batch < 1 or self.devices_at_once < 1:
            raise ValueError(
                "epochs, batch, devices_at_once: expected at least 0, 1 and 1, "
                f"got {self.epochs}, {self.batch}, {self.devices_at_once}"
            )
        if not 0.0 <= self.heldout_fraction < 1.0:
            raise ValueError(f"heldout_fraction: expected a share in [0, 1), got {self.heldout_fraction}")


@dataclass(frozen=True)
class FleetVectors:
    """What the fleet's devices end with; rows of users without a sample hold their start and gate 0."""

    vectors: np.ndarray  # [U, K] float32
    gates: np.ndarray  # [U] float32, 0 or 1
    samples: np.ndarray  # [U] int64, rows trained on
    heldout_samples: np.ndarray  # [U] int64
    cloud_loss: np.ndarray  # [U] held-out log loss with gate 0; NaN without held-out rows
    personal_loss: np.ndarray  # [U] the same with gate 1

    @classmethod
    def new(cls, vectors: np.ndarray) -> "FleetVectors":
        """Devices that have learned nothing yet: their start [U, K], gate 0."""
        users = len(vectors)
        return cls(
            vectors=np.array(vectors, np.float32),
            gates=np.zeros(users, np.float32),
            samples=np.zeros(users, np.int64),
            heldout_samples=np.zeros(users, np.int64),
            cloud_loss=np.full(users, np.nan),
            personal_loss=np.full(users, np.nan),
        )


@dataclass(frozen=True)
class DeviceRows:
    """The samples of M devices in the order in which each logged them, padded to N rows."""

    hidden: np.ndarray  # [M, N, F] outputs of the layer below the first junction
    targets: np.ndarray  # [M, N] float32
    interactions: list[np.ndarray]  # for each device, which interaction each of its rows belongs to


def personalize(
    cloud: CloudModel,
    data: Sequence[TrainingData],
    config: FleetConfig,
    *,
    start: np.ndarray | None = None,
) -> FleetVectors:
    """Trains the vector of every user who has samples in `data`; with 0 epochs it only weighs them.

    Args:
      cloud: f, Theta and U; all frozen.
      data: the samples that devices have logged, phase by phase, oldest first.
      config: how a device trains.
      start: [U, K] where the devices begin; U(0, u) by default.

    Returns:
      One row for each user of the log.
    """
    profile = data[0].log.users.profile
    result = FleetVectors.new(cloud.encoder.start(tf.constant(profile)) if start is None else start)
    counts = sum(np.maximum(phase.span.stop - phase.span.start, 0) for phase in data)
    by_activity = np.argsort(-counts, kind="stable")
    by_activity = by_activity[counts[by_activity] > 0]
    chunks = [by_activity[i : i + config.devices_at_once] for i in range(0, len(by_activity), config.devices_at_once)]
    with progress(chunks, "devices", unit="chunk") as bar:
        for chunk in bar:
            members = np.sort(chunk)
            rows = encode(cloud, [phase.of_users(members) for phase in data])
            _Chunk(cloud, rows, config).train(members, result)
    return result


def encode(cloud: CloudModel, data: Sequence[TrainingData]) -> DeviceRows:
    """Runs all that lies below the first junction on every sample of `data`, user by user, oldest first."""

    @tf.function
    def below(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        din = cloud.din
        return din.encode(
            din.items(batch["history"]),
            din.items(batch["candidates"]),
            batch["profile"],
            batch["history"] > 0,
            batch.get("history_labels"),
        )

    owners, hidden, targets, numbers = [], [], [], []
    logged = 0
    for batch in chain.from_iterable(phase(0, shuffle=False) for phase in data):
        real = batch["weights"].numpy() > 0  # [B, S]
        width = batch["targets"].shape[-1]
        owners.append(np.repeat(np.broadcast_to(batch["users"].numpy()[:, None], real.shape)[real], width))
        hidden.append(below(batch).numpy()[real].reshape(-1, cloud.din.config.hidden[0]))
        targets.append(batch["targets"].numpy()[real].reshape(-1))
        numbers.append(np.repeat(np.arange(real.sum()) + logged, width))
        logged += int(real.sum())
    order = np.argsort(np.concatenate(owners), kind="stable")  # each user's phases one after another
    owners, hidden, targets, numbers = (np.concatenate(part)[order] for part in (owners, hidden, targets, numbers))
    _, first, sizes = np.unique(owners, return_index=True, return_counts=True)
    padded_hidden = np.zeros((len(first), sizes.max(), hidden.shape[-1]), np.float32)
    padded_targets = np.zeros((len(first), sizes.max()), np.float32)
    for row, (begin, size) in enumerate(zip(first, sizes, strict=True)):
        padded_hidden[row, :size] = hidden[begin : begin + size]
        padded_targets[row, :size] = targets[begin : begin + size]
    return DeviceRows(padded_hidden, padded_targets, np.split(numbers, first[1:]))


class _Chunk:
    """Devices that train side by side."""

    def __init__(self, cloud: CloudModel, rows: DeviceRows, config: FleetConfig) -> None:
        self.cloud, self.config = cloud, config
        self.hidden, self.targets = tf.constant(rows.hidden), tf.constant(rows.targets)
        held = [heldout_rows(own, config.heldout_fraction) for own in rows.interactions]
        self.heldout = np.zeros(rows.targets.shape, np.float32)  # [M, N], 1 on held-out rows
        for row, own in enumerate(held):
            self.heldout[row, : len(own)] = own
        self.counts = np.array([int((~own).sum()) for own in held])
        self.pull = (config.pull / np.maximum(self.counts, 1)).astype(np.float32)[:, None]  # [M, 1]
        orders = [training_schedule(count, config.batch, config.epochs, config.seed) for count in self.counts]
        steps = max(order.shape[1] for order in orders)
        self.order = np.full((config.epochs, steps, len(held), config.batch), -1, np.int32)
        for row, order in enumerate(orders):
            self.order[:, : order.shape[1], row] = order
        self.step = tf.function(self._step)
        self.losses = tf.function(self._losses)

    def train(self, members: np.ndarray, result: FleetVectors) -> None:
        """Trains the chunk and writes the rows `members` of `result`."""
        anchor = tf.constant(result.vectors[members])
        state = vector_optimizer.start(anchor)
        cloud_loss = self.losses(anchor, tf.constant(0.0)).numpy()
        best_vector, best_loss = anchor.numpy(), np.full(len(members), np.inf)
        if not len(self.order):
            best_loss = self.losses(anchor, tf.constant(1.0)).numpy()
        for epoch in self.order:
            for rows in epoch:
                state = self.step(state, anchor, rows)
            loss = self.losses(state.vector, tf.constant(1.0)).numpy()
            better = np.isnan(loss) | (loss < best_loss)  # without held-out rows the newest vector is kept
            best_vector = np.where(better[:, None], state.vector.numpy(), best_vector)
            best_loss = np.where(better, loss, best_loss)
        result.vectors[members] = best_vector
        result.gates[members] = best_loss < cloud_loss - self.config.gate_margin
        result.samples[members] = self.counts
        result.heldout_samples[members] = self.heldout.sum(axis=1)
        result.cloud_loss[members], result.personal_loss[members] = cloud_loss, best_loss

    def _step(self, state: VectorState, anchor: tf.Tensor, rows: tf.Tensor) -> VectorState:
        """One batch [M, B] of each device; -1 is padding, a device with nothing but padding rests."""
        weights = tf.cast(rows >= 0, tf.float32)
        index = tf.maximum(rows, 0)
        hidden = tf.gather(self.hidden, index, batch_dims=1)
        targets = tf.gather(self.targets, index, batch_dims=1)
        size = tf.reduce_sum(weights, axis=1, keepdims=True)
        with tf.GradientTape() as tape:
            tape.watch(state.vector)
            logits = self.cloud.din.head(hidden, self.cloud.metapatch(state.vector))
            loss = tf.reduce_sum(cross_entropy(logits, targets) * weights / tf.maximum(size, 1.0))
        gradient = tape.gradient(loss, state.vector) + self.pull * (state.vector - anchor)
        update = vector_optimizer.optimizer(self.config.optimizer)
        return vector_optimizer.masked(size > 0, update(state, gradient, self.config.learning_rate), state)

    def _losses(self, vector: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
        """Held-out log loss of each device [M]; NaN where nothing is held out."""
        logits = self.cloud.din.head(self.hidden, self.cloud.metapatch(vector), gate)
        weights = tf.constant(self.heldout)
        total = tf.reduce_sum(cross_entropy(logits, self.targets) * weights, axis=1)
        return total / tf.reduce_sum(weights, axis=1)

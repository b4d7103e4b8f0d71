"""The fleet: all devices' personalisation (Eq. 3) at once, each row of a table one device's vector.

It does what docs/protocol.md asks of a device, step by step, on the same samples in the device runtime's own order, so
that the table equals what phones would upload that logged all samples at once: of a user with more rows than a phone's
log takes (`LogLimits`), the newest ones count. What lies below the first junction is the same for every epoch and is
computed once; a step is then a few batched matrix products over all devices.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import tensorflow as tf

from dccl_tf import vector_optimizer
from dccl_tf.cloud_model import CloudModel
from dccl_tf.losses import cross_entropy
from dccl_tf.progress import progress
from dccl_tf.training_data import TrainingData
from dccl_tf.vector_optimizer import VectorState
from device_runtime import LogLimits, heldout_rows, training_schedule

ROWS_AT_ONCE = 2**18  # padded rows of the devices that train side by side


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
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate: expected more than 0 on devices, got {self.learning_rate}")
        if not 0.0 <= self.pull < math.inf:
            raise ValueError(f"pull: expected 0 or more on devices, got {self.pull}")
        if not math.isfinite(self.gate_margin):
            raise ValueError(f"gate_margin: expected a finite number, got {self.gate_margin}")


@dataclass(frozen=True)
class FleetVectors:
    """What the fleet's devices end with; rows of users without a sample hold their start and gate 0."""

    vectors: np.ndarray  # [U, K] float32
    gates: np.ndarray  # [U] float32, 0 or 1
    samples: np.ndarray  # [U] int64, rows trained on; 0 where training diverged in its first epoch
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
    heldout: np.ndarray  # [M, N] float32, 1 on held-out rows
    order: np.ndarray  # [E, steps, M, B] int32, training rows of each step, -1 is padding
    counts: np.ndarray  # [M] training rows


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
    return Fleet(cloud, config).personalize(data, start=start)


class Fleet:
    """Devices of one cloud model. Its graphs are compiled once, whatever number of logs or parts of a log follow."""

    def __init__(self, cloud: CloudModel, config: FleetConfig) -> None:
        """As for `personalize`."""
        self.cloud, self.config = cloud, config
        compiled = partial(tf.function, reduce_retracing=True)
        self._step, self._losses = map(compiled, (self._step, self._losses))
        self._below = tf.function(self._below)  # a graph for each S: attention asks for its length when it is traced

    def personalize(
        self, data: Sequence[TrainingData], *, start: np.ndarray | None = None, bar: bool = True
    ) -> FleetVectors:
        """As `personalize`; `bar` shows the progress."""
        profile = data[0].log.users.profile
        result = FleetVectors.new(self.cloud.encoder.start(tf.constant(profile)) if start is None else start)
        data = as_logged(data)
        chunks = self._chunks(sum(phase.span.lengths * phase.candidates for phase in data))
        with progress(chunks, "devices", unit="chunk") if bar else nullcontext(chunks) as shown:
            for chunk in shown:
                members = np.sort(chunk)
                self._train(self._rows([phase.of_users(members) for phase in data]), members, result)
        return result

    def _chunks(self, rows: np.ndarray) -> list[np.ndarray]:
        """The users who have rows [U], longest first, in parts that train side by side.

        The first of a part sets the length to which all are padded, so memory does not depend on who the users are.
        """
        users = np.argsort(-rows, kind="stable")[: np.count_nonzero(rows)]
        chunks = []
        while len(users):
            size = min(self.config.devices_at_once, max(ROWS_AT_ONCE // int(rows[users[0]]), 1))
            chunks.append(users[:size])
            users = users[size:]
        return chunks

    def _rows(self, data: Sequence[TrainingData]) -> DeviceRows:
        """Runs all that lies below the first junction on every sample of `data`, user by user, oldest first."""
        owners, hidden, targets, numbers = [], [], [], []
        logged = 0
        for batch in chain.from_iterable(phase.in_order(0) for phase in data):
            real = batch["weights"] > 0  # [B, S]
            width = batch["targets"].shape[-1]
            owners.append(np.repeat(np.broadcast_to(batch["users"][:, None], real.shape)[real], width))
            below = self._below({name: tf.constant(one) for name, one in batch.items()}).numpy()  # [B, S, C, F]
            hidden.append(below[real].reshape(-1, below.shape[-1]))
            targets.append(batch["targets"][real].reshape(-1))
            numbers.append(np.repeat(np.arange(real.sum()) + logged, width))
            logged += int(real.sum())
        order = np.argsort(np.concatenate(owners), kind="stable")  # each user's phases one after another
        owners, hidden, targets, numbers = (np.concatenate(part)[order] for part in (owners, hidden, targets, numbers))
        _, first, sizes = np.unique(owners, return_index=True, return_counts=True)
        held = np.concatenate([heldout_rows(own, self.config.heldout_fraction) for own in np.split(numbers, first[1:])])
        device = np.repeat(np.arange(len(first)), sizes)
        row = np.arange(len(owners)) - first[device]
        counts = sizes - np.bincount(device, held).astype(np.int64)
        return DeviceRows(
            *(_padded(part, device, row, sizes) for part in (hidden, targets, held.astype(np.float32))),
            order=self._order(counts),
            counts=counts,
        )

    def _order(self, counts: np.ndarray) -> np.ndarray:
        """Training rows of each step of devices with these numbers of them, [E, steps, M, B]."""
        config = self.config
        distinct, which = np.unique(counts, return_inverse=True)
        schedules = [training_schedule(int(count), config.batch, config.epochs, config.seed) for count in distinct]
        together = np.full(
            (config.epochs, max(one.shape[1] for one in schedules), len(distinct), config.batch), -1, np.int32
        )
        for place, one in enumerate(schedules):
            together[:, : one.shape[1], place] = one
        return together[:, :, which]

    def _train(self, rows: DeviceRows, members: np.ndarray, result: FleetVectors) -> None:
        """Trains devices side by side and writes the rows `members` of `result`."""
        inputs = {name: tf.constant(getattr(rows, name)) for name in ("hidden", "targets")}
        losses = partial(self._losses, **inputs, heldout=tf.constant(rows.heldout))
        pull = tf.constant((self.config.pull / np.maximum(rows.counts, 1)).astype(np.float32)[:, None])  # [M, 1]
        anchor = tf.constant(result.vectors[members])
        state = vector_optimizer.start(anchor)
        cloud_loss = losses(anchor, tf.constant(0.0)).numpy()
        judged = rows.heldout.any(axis=1)  # without held-out rows the newest vector is kept
        best_vector, best_loss = anchor.numpy(), np.where(judged, np.inf, np.nan)
        learned = np.zeros(len(members), bool)
        if not len(rows.order):
            best_loss, learned = losses(anchor, tf.constant(1.0)).numpy(), ~learned
        for epoch in rows.order:
            for step in epoch:
                state = self._step(state, anchor, pull, tf.constant(step), **inputs)
            vector, loss = state.vector.numpy(), losses(state.vector, tf.constant(1.0)).numpy()
            better = np.isfinite(vector).all(axis=1) & (~judged | (loss < best_loss))
            best_vector = np.where(better[:, None], vector, best_vector)
            best_loss = np.where(better, loss, best_loss)
            learned |= better
        result.vectors[members] = best_vector
        result.gates[members] = best_loss < cloud_loss - self.config.gate_margin
        result.samples[members] = rows.counts * learned
        result.heldout_samples[members] = rows.heldout.sum(axis=1)
        result.cloud_loss[members] = cloud_loss
        result.personal_loss[members] = np.where(learned, best_loss, np.nan)

    def _below(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Outputs of the layer below the first junction, [B, S, C, F]."""
        din = self.cloud.din
        return din.encode(
            din.items(batch["history"]),
            din.items(batch["candidates"]),
            batch["profile"],
            batch["history"] > 0,
            batch.get("history_labels"),
        )

    def _step(
        self,
        state: VectorState,
        anchor: tf.Tensor,
        pull: tf.Tensor,
        rows: tf.Tensor,
        hidden: tf.Tensor,
        targets: tf.Tensor,
    ) -> VectorState:
        """One batch [M, B] of each device; -1 is padding, a device with nothing but padding rests."""
        weights = tf.cast(rows >= 0, tf.float32)
        index = tf.maximum(rows, 0)
        hidden = tf.gather(hidden, index, batch_dims=1)
        targets = tf.gather(targets, index, batch_dims=1)
        size = tf.reduce_sum(weights, axis=1, keepdims=True)
        with tf.GradientTape() as tape:
            tape.watch(state.vector)
            logits = self.cloud.din.head(hidden, self.cloud.metapatch(state.vector))
            loss = tf.reduce_sum(cross_entropy(logits, targets) * weights / tf.maximum(size, 1.0))
        gradient = tape.gradient(loss, state.vector) + pull * (state.vector - anchor)
        update = vector_optimizer.optimizer(self.config.optimizer)
        return vector_optimizer.masked(size > 0, update(state, gradient, self.config.learning_rate), state)

    def _losses(
        self, vector: tf.Tensor, gate: tf.Tensor, hidden: tf.Tensor, targets: tf.Tensor, heldout: tf.Tensor
    ) -> tf.Tensor:
        """Held-out log loss of each device [M]; NaN where nothing is held out."""
        logits = self.cloud.din.head(hidden, self.cloud.metapatch(vector), gate)
        total = tf.reduce_sum(cross_entropy(logits, targets) * heldout, axis=1)
        return total / tf.reduce_sum(heldout, axis=1)


def as_logged(data: Sequence[TrainingData]) -> list[TrainingData]:
    """What a device's log keeps of the phases after all of them were logged at once: see `LogLimits`.

    Args:
      data: phase by phase, oldest first.
    """
    limits, rows = LogLimits(), data[0].candidates  # of an interaction
    counts = sum(phase.span.lengths for phase in data)  # [U]
    surplus = np.where(counts * rows > limits.samples, counts - max(limits.samples_left // rows, 1), 0)
    kept = []
    for phase in data:
        cut = np.minimum(surplus, phase.span.lengths)
        kept.append(phase.since(phase.span.start + cut) if cut.any() else phase)
        surplus = surplus - cut
    return kept


def _padded(values: np.ndarray, device: np.ndarray, row: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rows of all devices [all, ...], device after device, as [M, N, ...] with zeros at the ends."""
    padded = np.zeros((len(sizes), sizes.max(), *values.shape[1:]), np.float32)
    padded[device, row] = values
    return padded

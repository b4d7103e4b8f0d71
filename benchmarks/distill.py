"""What MoMoDistill costs: samples a second beside plain training, and beside the two naive ways to ask every teacher.

  python benchmarks/distill.py --dataset=ml-1m --data_dir=ml-1m.zip --output=results/distill.json

One step each, on the same packed batches in the default sizes of a run: plain incremental training (Eq. 4), Eq. 5, and
Eq. 7. Then Eq. 5 again with its teachers asked in other ways:

- contracted: x Theta first and theta last, so that no row's patch is ever built;
- a patch a sample: every sample's patch is built, as if rows were not packed;
- a model a device: each row's personal model is loaded from its file, as a whole (.keras), or its weights alone into
  a model that is there (.npz, the kindest way); a few rows are timed and count for all of the batch.

The ways take turns, and each has the median of its turns. Other work on the machine changes the seconds, hardly the
ratios of CPU time (all cores together).
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from dccl_tf import run_config
from dccl_tf.adam import FusedAdam
from dccl_tf.cloud_model import CloudModel
from dccl_tf.metapatch import Patch
from dccl_tf.momodistill import BasisLearner, Teachers, basis_loss, cloud_loss
from dccl_tf.pretrain import data_loss
from dccl_tf.progress import progress
from dccl_tf.report import jsonable
from dccl_tf.run_config import DcclConfig
from dccl_tf.trainer import Batch, make_train_step
from scripts import flags_data, programs

_PROTOCOL = flags.DEFINE_enum("protocol", "liked", ["next", "liked"], "What the samples are.")
_POSITIONS = flags.DEFINE_integer("positions", None, "S of a packed row; by default what costs least.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 8, "Steps of a turn.", lower_bound=1)
_TURNS = flags.DEFINE_integer("turns", 7, "Turns of each way.", lower_bound=1)
_LOADED = flags.DEFINE_integer("loaded", 6, "Devices whose models are loaded for the timing.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the figures.")

BETA = 0.1
Clock = tuple[float, float]  # seconds on the wall, seconds of CPU


class PerSample(Teachers):
    """Builds the patch of every sample."""

    def logits(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        hidden, shape = self.cloud.din.below(batch)
        samples = hidden.shape[1]
        theta = tf.repeat(self.theta(batch), samples, axis=0)  # [B * N, K]
        rows = tf.reshape(hidden, [-1, 1, hidden.shape[-1]])
        logits = self.cloud.din.head(rows, self.cloud.metapatch(theta))
        return tf.reshape(logits, [-1, *shape]), tf.ones([1, 1, 1])


class Contracted(Teachers):
    """Builds no patch: samples meet the basis first, and its answers are mixed by the row's vector."""

    def logits(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        din, theta = self.cloud.din, self.theta(batch)
        hidden, shape = din.below(batch)
        at = dict(zip(din.config.junction_layers, self.cloud.metapatch.bases, strict=True))
        hidden = contracted(hidden, theta, at[0])
        for index, layer in enumerate(din.layers_above, start=1):
            hidden = din.activation(layer(hidden))
            if index in at:
                hidden = contracted(hidden, theta, at[index])
        return tf.reshape(din.logit(hidden), [-1, *shape]), tf.ones([1, 1, 1])


def contracted(x: tf.Tensor, theta: tf.Tensor, basis: Patch) -> tf.Tensor:
    """x [B, N, F] + patch(x), with theta [B, K] and the basis' tensors [K, ...]."""
    down, down_bias, up, up_bias = (tf.convert_to_tensor(tensor) for tensor in basis)
    length, width, bottleneck = down.shape
    flat = tf.reshape(tf.transpose(down, [1, 0, 2]), [width, length * bottleneck])
    answers = tf.reshape(tf.matmul(x, flat[None]), [-1, x.shape[1], length, bottleneck])
    low = tf.reduce_sum(answers * theta[:, None, :, None], axis=2) + tf.matmul(theta, down_bias)[:, None]
    mixed = tf.reshape(theta[:, None, :, None] * tf.tanh(low)[:, :, None], [-1, x.shape[1], length * bottleneck])
    back = tf.matmul(mixed, tf.reshape(up, [1, length * bottleneck, width]))
    return x + back + tf.matmul(theta, up_bias)[:, None]


def stepper(model: keras.Model, variables: list[keras.Variable], loss: Callable, batches: list[Batch]) -> Callable:
    """Runs one turn's steps of training."""
    optimizer = FusedAdam(1e-4)
    optimizer.build(variables)
    step = make_train_step(optimizer, variables, loss)

    def turn() -> None:
        for batch in batches:
            total, _ = step(batch)
        total.numpy()

    return turn


def clocked(work: Callable[[], object]) -> Clock:
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def median(clocks: list[Clock]) -> np.ndarray:
    return np.median(np.array(clocks), axis=0)


def loading(cloud: CloudModel, vectors: np.ndarray, batch: Batch, folder: Path) -> dict[str, np.ndarray]:
    """Seconds [wall, CPU] to load one device's model and ask it about its row, both ways."""
    rows = range(min(_LOADED.value, len(batch["users"])))
    one = [{name: value[row : row + 1] for name, value in batch.items()} for row in rows]
    theta = [tf.constant(vectors[row : row + 1]) for row in rows]
    for row in rows:
        cloud.save(folder / f"{row}.keras")
        np.savez(folder / f"{row}.npz", *cloud.get_weights())
    there = cloud.copy()
    ask = tf.function(lambda batch, theta: there(batch, theta=theta))
    ask(one[0], theta[0])

    def whole(row: int) -> None:
        keras.saving.load_model(folder / f"{row}.keras")(one[row], theta=theta[row])

    def weights(row: int) -> None:
        with np.load(folder / f"{row}.npz") as archive:
            there.set_weights([archive[name] for name in archive])
        ask(one[row], theta[row])

    ways = {"a model a device, .keras": whole, "a model a device, weights alone": weights}
    found = {}
    for name, load in ways.items():
        load(0)
        found[name] = median([clocked(partial(load, row)) for row in rows])
    return found


def main(_: list[str]) -> None:
    config = DcclConfig(protocol=_PROTOCOL.value, positions=_POSITIONS.value)
    log, _oracle = flags_data.load_log(flags.FLAGS)
    keras.utils.set_random_seed(0)
    cloud = run_config.untrained(log, config)
    data = run_config.training_data(log, config, run_config.joined(run_config.split_log(log, config), "rounds"), 0)
    batches = [{k: tf.constant(v) for k, v in batch.items()} for batch in data(0).take(_STEPS.value)]
    users = len(log.users)
    vectors = np.random.default_rng(0).normal(0.0, 0.1, (users, config.metapatch_length)).astype(np.float32)
    known, old = np.ones(users, bool), cloud.copy()

    def student(kind: type[Teachers] | None) -> Callable:
        own = cloud.copy()
        loss = cloud_loss(own, kind(old, vectors, known), BETA) if kind else data_loss(own)
        return stepper(own, own.din.trainable_variables, loss, batches)

    def basis() -> Callable:
        own = cloud.copy()
        loss = basis_loss(BasisLearner(own, 0), Teachers(old, vectors, known), BETA, np.zeros(users))
        return stepper(own, [*own.metapatch.trainable_variables, *own.encoder.trainable_variables], loss, batches)

    names = {"plain": None, "Eq. 5": Teachers, "Eq. 5, contracted": Contracted, "Eq. 5, a patch a sample": PerSample}
    agree(old, vectors, known, batches[0])
    ways = {name: student(kind) for name, kind in names.items()} | {"Eq. 7": basis()}
    clocks: dict[str, list[Clock]] = {name: [] for name in ways}
    for turn in progress(range(_TURNS.value + 1), "turns", unit="turn"):
        for name, work in ways.items():
            clock = clocked(work)
            if turn:  # the first one compiles
                clocks[name].append(clock)
    seconds = {name: median(found) / len(batches) for name, found in clocks.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, one in loading(old, vectors, batches[0], Path(folder)).items():
            seconds[name] = seconds["plain"] + one * data.batch_rows
    samples = np.mean([batch["weights"].numpy().sum() for batch in batches]) * data.candidates
    sizes = {"rows": data.batch_rows, "positions": data.positions, "candidates": data.candidates, "samples": samples}
    print(f"{log.source}\n{_PROTOCOL.value}, a batch: {sizes}")
    rows = {}
    for name, (wall, cpu) in seconds.items():
        ratios = {"wall": wall / seconds["plain"][0], "cpu": cpu / seconds["plain"][1]}
        rows[name] = {"samples_per_second": samples / wall, "milliseconds": 1e3 * wall, "times_plain": ratios}
        told = f"{samples / wall:10,.0f} samples/s {1e3 * wall:10.1f} ms a step"
        print(f"  {name:34} {told}; of plain: {ratios['wall']:.2f} wall, {ratios['cpu']:.2f} CPU")
    if _OUTPUT.value:
        found = {"source": log.source, "protocol": _PROTOCOL.value} | programs.provenance("benchmarks/distill.py")
        Path(_OUTPUT.value).write_text(json.dumps(jsonable(found | {"batch": sizes, "ways": rows}), indent=1) + "\n")


def agree(cloud: CloudModel, vectors: np.ndarray, known: np.ndarray, batch: Batch) -> None:
    """All ways give one answer, or their times mean nothing."""
    one, *others = (kind(cloud, vectors, known).logits(batch)[0] for kind in (Teachers, Contracted, PerSample))
    for other in others:
        np.testing.assert_allclose(other, one, atol=1e-5)


if __name__ == "__main__":
    app.run(main)

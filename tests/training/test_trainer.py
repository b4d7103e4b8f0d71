"""The training loop: exact mean over workers, resuming (hostile row M10), early stopping, failure."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.losses import cross_entropy, weighted_sum
from dccl_tf.trainer import TrainConfig, fit
from tests.models import small

STEPS = 3


def batches(epoch: int) -> tf.data.Dataset:
    """Three batches of four rows, made of the epoch's number alone. Odd items are liked; the last row has no weight."""

    def batch(step: int) -> dict:
        random = np.random.default_rng([epoch, step])
        packed = {name: value.numpy() for name, value in small.packed(seed=int(random.integers(1000)), rows=4).items()}
        weights = np.ones((4, 4), np.float32)
        weights[3] = 0.0
        return packed | {"targets": (packed["candidates"] % 2).astype(np.float32), "weights": weights}

    steps = [batch(step) for step in range(STEPS)]
    rows = {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}
    return tf.data.Dataset.from_tensor_slices(rows).batch(4, drop_remainder=True)


def train(cloud, epochs: int, stop_after: int | None = None, data=batches, **options):
    """Trains f; `stop_after` kills the run after so many epochs."""

    def loss(batch):
        return weighted_sum(cross_entropy(cloud(batch, training=True), batch["targets"]), batch["weights"])

    def until_stopped(epoch):
        if epoch == stop_after:
            raise KeyboardInterrupt
        return data(epoch)

    config = TrainConfig(epochs=epochs, learning_rate=0.01)
    return fit(cloud, cloud.din.trainable_variables, loss, until_stopped, config, steps=STEPS, **options)


def test_loss_falls_and_only_the_given_variables_move():
    cloud = small.cloud()
    before = [variable.numpy() for variable in cloud.metapatch.trainable_variables]
    history = train(cloud, epochs=30)
    assert history.loss[-1] < 0.8 * history.loss[0]
    for variable, old in zip(cloud.metapatch.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_two_and_two_epochs_equal_four(tmp_path):  # M10, dropout included
    straight = small.cloud(dropout=0.3)
    expected = train(straight, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(small.cloud(dropout=0.3), epochs=4, stop_after=2, checkpoint_dir=tmp_path)
    resumed = small.cloud(seed=99, dropout=0.3)
    history = train(resumed, epochs=4, checkpoint_dir=tmp_path)
    np.testing.assert_allclose(history.loss, expected.loss, atol=1e-6)
    for ours, theirs in zip(resumed.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_folder_of_a_training_with_other_settings_is_refused(tmp_path):
    train(small.cloud(), epochs=2, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint_dir: expected a training with epochs 4 in .*, got one with 2;"):
        train(small.cloud(), epochs=4, checkpoint_dir=tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def full(manager, *_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    with pytest.raises(OSError, match=r"checkpoint_dir: .* cannot be written \(No space left on device\); free space"):
        train(small.cloud(), epochs=1, checkpoint_dir=tmp_path)


def test_best_epoch_is_put_back_and_training_stops():
    cloud = small.cloud()
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    seen = []

    def validate() -> float:
        seen.append(cloud.din.logit.kernel.numpy())
        return next(scores)

    def loss(batch):
        return weighted_sum(cross_entropy(cloud(batch), batch["targets"]), batch["weights"])

    config = TrainConfig(epochs=5, learning_rate=0.01, patience=2)
    history = fit(cloud, cloud.din.trainable_variables, loss, batches, config, steps=STEPS, validate=validate)
    assert (history.best_epoch, len(history.loss)) == (1, 4)  # epochs 2 and 3 were no better
    np.testing.assert_array_equal(cloud.din.logit.kernel, seen[1])


def constant(validation: float, epochs: int = 8, **options):
    """A model before and after training that is judged the same after each epoch, and its history."""
    cloud = small.cloud()
    before = cloud.din.logit.kernel.numpy()

    def loss(batch):
        return weighted_sum(cross_entropy(cloud(batch), batch["targets"]), batch["weights"])

    def run():
        config = TrainConfig(epochs=epochs, learning_rate=0.01, patience=2)
        validate = lambda: validation  # noqa: E731
        variables = cloud.din.trainable_variables
        return fit(cloud, variables, loss, batches, config, steps=STEPS, validate=validate, **options)

    return cloud, before, run


def test_an_equal_epoch_is_no_better():
    history = constant(0.5)[2]()
    assert (history.best_epoch, history.validation) == (0, [0.5] * 3)  # two epochs of patience


@pytest.mark.parametrize("validation", [np.nan, np.inf, -np.inf])
def test_a_validation_that_is_no_number_is_refused(tmp_path, validation):
    cloud, before, run = constant(validation, checkpoint_dir=tmp_path)
    with pytest.raises(FloatingPointError, match=rf"validation after epoch 1 is {validation}, .*something to judge"):
        run()
    np.testing.assert_array_equal(cloud.din.logit.kernel, before)
    assert not list(tmp_path.iterdir())


def test_loss_that_is_not_finite_keeps_the_last_good_weights():
    cloud = small.cloud()
    before = cloud.din.logit.kernel.numpy()

    def loss(batch):
        return weighted_sum(cross_entropy(cloud(batch), batch["targets"]) * np.nan, batch["weights"])

    with pytest.raises(FloatingPointError, match="learning_rate"):
        fit(cloud, cloud.din.trainable_variables, loss, batches, TrainConfig(epochs=1), steps=STEPS)
    np.testing.assert_array_equal(cloud.din.logit.kernel, before)


def test_a_last_step_that_diverges_is_not_judged():
    """The loss of a step is that of the weights before it. Here it is 0, and its gradient 0 / 0."""
    cloud, judged = small.cloud(), []

    def loss(batch):
        logits = cloud(batch)
        return weighted_sum(tf.sqrt(logits - tf.stop_gradient(logits)), batch["weights"])

    config = TrainConfig(epochs=1, averaging=0)
    with pytest.raises(FloatingPointError, match=r"epoch 1 diverged .*lower learning_rate"):
        fit(
            cloud, cloud.din.trainable_variables, loss, lambda epoch: batches(epoch).take(1), config, steps=1,
            validate=lambda: judged.append(1) or 0.0,
        )  # fmt: skip
    assert not judged


def test_two_replicas_equal_one(tmp_path):
    """The row of weight 0 falls to one replica alone: a mean of the replicas' means would differ."""
    program = """
import sys
import numpy as np, tensorflow as tf
from dccl_tf.models.dropout import ByteDropout
from tests.models import small
from tests.training.test_trainer import train
replicas = int(sys.argv[2])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
with strategy.scope():
    cloud, dropout = small.cloud(dropout=0.0), ByteDropout(0.5)
    train(cloud, epochs=2)
masks = strategy.experimental_local_results(strategy.run(lambda: dropout(tf.ones(64), training=True)))
assert len({mask.numpy().tobytes() for mask in masks}) == replicas  # each draws for rows of its own
np.savez(sys.argv[1], *cloud.get_weights())
"""
    found = []
    for replicas in (1, 2):
        path = tmp_path / f"{replicas}.npz"
        subprocess.run([sys.executable, "-c", program, str(path), str(replicas)], check=True)
        with np.load(path) as archive:
            found.append([archive[key] for key in archive])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"epochs": 0}, "epochs"), ({"learning_rate": 0}, "learning_rate"), ({"patience": -1}, "patience")],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**setting)


def test_saved_model_scores_the_same_in_a_new_process(tmp_path):  # M9
    cloud, batch = small.cloud(), small.packed()
    cloud.save(tmp_path / "cloud.keras")
    program = """
import sys
import keras, numpy as np
import dccl_tf.cloud_model
from tests.models import small
np.save(sys.argv[2], keras.saving.load_model(sys.argv[1])(small.packed()))
"""
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cloud.keras"), str(tmp_path / "logits.npy")], check=True
    )
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), cloud(batch), atol=1e-6)


def test_weight_decay_spares_what_it_is_told_to():
    """Without a gradient one step of rate 0.1 and decay 0.5 leaves 1 - 0.05 of a weight."""
    decayed, spared = (keras.Variable(tf.ones(3), name=name) for name in ("decayed", "spared"))
    model = keras.Sequential()

    def loss(batch):
        return 0.0 * tf.reduce_sum(decayed.value + spared.value), batch["weights"][0, 0]

    config = TrainConfig(epochs=1, learning_rate=0.1, weight_decay=0.5, averaging=0)
    fit(model, [decayed, spared], loss, lambda epoch: batches(epoch).take(1), config, steps=1, undecayed=[spared])
    np.testing.assert_allclose(decayed, 0.95, rtol=1e-6)
    np.testing.assert_array_equal(spared, 1.0)

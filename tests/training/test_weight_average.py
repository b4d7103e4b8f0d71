"""Averaged weights: the recursion by hand, the swap, and what `fit` makes of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.trainer import TrainConfig, fit
from dccl_tf.weight_average import WeightAverage
from tests.models import small
from tests.training.test_trainer import train


def averaged(window: float, values: list[float], start: float = 0.0) -> float:
    """The average after a variable has taken `values` one after another."""
    variable = tf.Variable(start)
    average = WeightAverage([variable], window)
    for step, value in enumerate(values, start=1):
        variable.assign(value)
        average.update(step)
    return float(average.values[0])


def test_average_of_three_steps_by_hand():
    # The new weight counts max(1 / 100, 9 / (9 + t)): 9/10, 9/11, 9/12.
    # 0.9 * 10 = 9;  9 + 9/11 * (20 - 9) = 18;  18 + 3/4 * (30 - 18) = 27.
    assert averaged(100.0, [10.0, 20.0, 30.0]) == pytest.approx(27.0, abs=1e-5)


def test_the_window_caps_the_average():
    # From step 2 on 9 / (9 + t) is below 1 / 1.2 = 5/6:  0 -> 9;  9 + 5/6 * (21 - 9) = 19.
    assert averaged(1.2, [10.0, 21.0]) == pytest.approx(19.0, abs=1e-5)


def test_a_window_below_one_step_is_the_newest_weight():
    assert averaged(0.25, [10.0, 20.0, 33.0]) == 33.0


def test_a_long_window_is_updated_now_and_then():
    # 64 updates in 256 steps: one every 4. Steps 4 and 8 have 9/10 and 9/11 of 10 and 30:  0 -> 9 -> 9 + 9/11 * 21.
    values = [0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 30.0, 0.0]
    assert averaged(256.0, values) == pytest.approx(9.0 + 9.0 / 11.0 * 21.0, abs=1e-5)


def test_weights_that_rest_are_their_own_average():
    assert averaged(50.0, [7.0] * 5, start=7.0) == 7.0


def test_average_is_in_place_inside_alone():
    variable = tf.Variable([1.0, 2.0])
    average = WeightAverage([variable], window=10.0)
    variable.assign([3.0, 4.0])
    with average.in_place():
        np.testing.assert_array_equal(variable, [1.0, 2.0])
    np.testing.assert_array_equal(variable, [3.0, 4.0])
    np.testing.assert_array_equal(average.values[0], [1.0, 2.0])


class Line(keras.Model):
    """One weight; its loss has the slope 1 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.add_weight(name="weight", shape=(), initializer="zeros")
        self.built = True


def fit_line(steps: int, **settings) -> tuple[float, list[float]]:
    """Ends of a run of two epochs, and what validation saw; gradient 1 makes each Adam step one learning rate."""
    line, seen = Line(), []

    def loss(batch):
        return line.weight * tf.reduce_sum(batch["one"]), tf.reduce_sum(batch["one"])

    def validate() -> float:
        seen.append(float(line.weight))
        return float(len(seen))

    def data(epoch):
        return tf.data.Dataset.from_tensors({"one": tf.ones(1)}).repeat(steps)

    fit(line, [line.weight], loss, data, TrainConfig(epochs=2, learning_rate=1.0, **settings), steps=steps,
        validate=validate)  # fmt: skip
    return float(line.weight), seen


def test_validation_and_the_end_are_the_average():
    # Two steps an epoch, cosine over four: rates 1, (1 + cos 45)/2, 1/2, (1 + cos 135)/2 -> weights w_t = -their sum.
    weights = -np.cumsum([(1 + np.cos(np.pi * t / 4)) / 2 for t in range(4)])
    expected, average = [], 0.0
    for t, weight in enumerate(weights, start=1):
        average += max(1 / 2, 9 / (9 + t)) * (weight - average)  # a window of one epoch is 2 steps
        expected.append(average)
    end, seen = fit_line(steps=2, averaging=1.0)
    assert seen == pytest.approx([expected[1], expected[3]], abs=1e-4)
    assert end == pytest.approx(expected[3], abs=1e-4)


def test_zero_switches_it_off():
    weights = -np.cumsum([(1 + np.cos(np.pi * t / 4)) / 2 for t in range(4)])
    end, seen = fit_line(steps=2, averaging=0.0)
    assert [*seen, end] == pytest.approx([weights[1], weights[3], weights[3]], abs=1e-4)


def test_a_killed_run_resumes_with_its_average(tmp_path):
    """Four epochs straight, and two, a kill, and two more, judged by a validation that sees the average."""

    def run(cloud, **options):
        seen = []

        def validate() -> float:
            seen.append(cloud.din.logit.kernel.numpy())
            return 0.0

        train(cloud, epochs=4, validate=validate, **options)
        return seen

    expected = run(small.cloud(dropout=0.0))
    with pytest.raises(KeyboardInterrupt):
        run(small.cloud(dropout=0.0), stop_after=2, checkpoint_dir=tmp_path)
    resumed = run(small.cloud(seed=99, dropout=0.0), checkpoint_dir=tmp_path)
    np.testing.assert_allclose(resumed, expected[2:], atol=1e-6)


@pytest.mark.parametrize("window", [-0.1, float("nan"), float("inf")])
def test_a_window_that_is_no_number_of_epochs_is_named(window):
    with pytest.raises(ValueError, match="averaging"):
        TrainConfig(averaging=window)

"""Adam in one pass against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.adam import FusedAdam


@pytest.mark.parametrize("decay", [None, 0.1])
def test_five_steps_equal_kerass(decay):
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=(7, 3)), random.normal(size=(5, 7, 3))
    found = []
    for kind in (keras.optimizers.Adam, FusedAdam):
        variable = keras.Variable(start, dtype="float32")
        optimizer = kind(keras.optimizers.schedules.CosineDecay(0.1, 5), weight_decay=decay)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        found.append(variable.numpy())
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_first_step_by_hand():
    """Adam's first step is the rate along the gradient's sign, whatever the gradient's size."""
    variable = keras.Variable([1.0, 1.0, 1.0])
    optimizer = FusedAdam(0.25, weight_decay=None)
    optimizer.build([variable])
    optimizer.apply([tf.constant([100.0, -0.01, 0.0])], [variable])
    np.testing.assert_allclose(variable, [0.75, 1.25, 1.0], atol=1e-4)

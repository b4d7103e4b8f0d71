"""Losses and the vector's optimiser, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf import exportable, vector_optimizer
from dccl_tf.losses import bernoulli_kl, cross_entropy, weighted_sum


def test_cross_entropy_by_hand():
    """At logit 0 the loss is log 2; at log 3 the probability is 3/4."""
    losses = cross_entropy(tf.math.log([1.0, 3.0, 3.0]), tf.constant([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(losses, [np.log(2), np.log(4 / 3), np.log(4)], atol=1e-6)


@pytest.mark.parametrize("logit", [-500.0, 500.0])
def test_cross_entropy_of_huge_logits_is_finite(logit):
    losses = cross_entropy(tf.constant([logit, logit]), tf.constant([0.0, 1.0]))
    np.testing.assert_allclose(np.sort(losses), [0.0, 500.0])


def test_cross_entropy_gradient_is_probability_minus_target():
    logits, targets = tf.constant([-1.0, 0.0, 2.0]), tf.constant([0.0, 1.0, 0.3])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(cross_entropy(logits, targets))
    np.testing.assert_allclose(tape.gradient(loss, logits), tf.sigmoid(logits) - targets, atol=1e-7)


def test_kl_by_hand():
    """KL(3/4 || 1/2) = 3/4 log(3/2) + 1/4 log(1/2)."""
    value = bernoulli_kl(tf.math.log([3.0]), tf.constant([0.0]))
    np.testing.assert_allclose(value, [0.75 * np.log(1.5) + 0.25 * np.log(0.5)], atol=1e-6)


def test_kl_of_equal_models_has_no_gradient():  # C4
    logits = tf.constant([-3.0, 0.2, 5.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(bernoulli_kl(logits, logits))
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros(3))


def test_weighted_sum_counts_every_candidate():
    total, weight = weighted_sum(tf.constant([[[1.0, 2.0], [10.0, 20.0]]]), tf.constant([[1.0, 0.0]]))
    assert (float(total), float(weight)) == (3.0, 2.0)


def test_relu_and_its_gradient():
    x = tf.constant([-1.0, 0.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(exportable.relu(x) * [3.0, 3.0, 3.0])
    np.testing.assert_array_equal(exportable.relu(x), [0, 0, 2])
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 0, 3])


def test_adam_equals_keras():
    start = np.array([0.5, -1.0, 2.0], np.float32)
    gradients = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    variable = tf.Variable(start)
    keras_adam = tf.keras.optimizers.Adam(
        0.05, vector_optimizer.BETA_1, vector_optimizer.BETA_2, vector_optimizer.EPSILON
    )
    state = vector_optimizer.start(tf.constant(start))
    for gradient in gradients:
        keras_adam.apply_gradients([(tf.constant(gradient), variable)])
        state = vector_optimizer.adam(state, tf.constant(gradient), 0.05)
    np.testing.assert_allclose(state.vector, variable, atol=1e-6)
    assert float(state.step[0]) == 20


def test_momentum_by_hand():
    """Two steps of gradient 1 at rate 0.1: 0.1, then 0.1 * (1 + 29/32)."""
    state = vector_optimizer.start(tf.zeros([1]))
    for _ in range(2):
        state = vector_optimizer.sgd(state, tf.ones([1]), 0.1)
    np.testing.assert_allclose(state.vector, [-0.290625], atol=1e-7)


def test_masked_keeps_the_state_of_resting_devices():
    before = vector_optimizer.start(tf.constant([[1.0], [2.0]]))
    after = vector_optimizer.adam(before, tf.ones([2, 1]), 0.1)
    mixed = vector_optimizer.masked(tf.constant([[True], [False]]), after, before)
    for new, old, result in zip(after, before, mixed, strict=True):
        np.testing.assert_array_equal(result, [new[0], old[1]])


def test_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="adagrad"):
        vector_optimizer.optimizer("adagrad")

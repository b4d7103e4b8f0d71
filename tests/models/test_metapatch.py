"""The metapatch (Eq. 1, 2), the auxiliary encoder (Eq. 6) and the zero trap."""

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.aux_encoder import AuxEncoder
from dccl_tf.losses import cross_entropy
from dccl_tf.metapatch import MetaPatch, Patch, apply_patch
from tests.models import small


def test_patch_by_hand():
    """x = [1, 2], down = [[1], [0]], bias 0.5: tanh(1.5) * up + up_bias, halved by the gate, added to x."""
    patch = Patch(tf.constant([[1.0], [0.0]]), tf.constant([0.5]), tf.constant([[2.0, -1.0]]), tf.constant([0.1, 0.2]))
    out = apply_patch(tf.constant([[1.0, 2.0]]), patch, gate=tf.constant(0.5))
    t = np.tanh(1.5)
    np.testing.assert_allclose(out, [[1 + 0.5 * (2 * t + 0.1), 2 + 0.5 * (-t + 0.2)]], atol=1e-6)


def test_parameters_are_linear_in_the_vector():  # Eq. 2
    metapatch = MetaPatch(length=3, widths=(5,), bottlenecks=(2,))
    a, b = tf.constant([1.0, -2.0, 0.5]), tf.constant([0.3, 0.1, 2.0])
    for combined, left, right in zip(metapatch(2.0 * a + b)[0], metapatch(a)[0], metapatch(b)[0], strict=True):
        np.testing.assert_allclose(combined, 2.0 * left + right, atol=1e-6)


def test_one_vector_equals_a_batch_of_it():
    metapatch = MetaPatch(length=3, widths=(5, 4), bottlenecks=(2, 2))
    theta = tf.constant([1.0, -2.0, 0.5])
    for alone, batch in zip(metapatch(theta), metapatch(tf.stack([theta, 0 * theta])), strict=True):
        for one, many in zip(alone, batch, strict=True):
            np.testing.assert_allclose(many[0], one, atol=1e-6)
            np.testing.assert_array_equal(many[1], tf.zeros_like(one))


def test_gate_zero_is_the_cloud_model_bit_for_bit():
    cloud, batch = small.cloud(), small.packed()
    personal = cloud(batch, theta=tf.fill([3, small.K], 7.0), gate=tf.zeros([3]))
    np.testing.assert_array_equal(personal, cloud(batch))


def test_zero_vector_is_the_cloud_model():
    cloud, batch = small.cloud(), small.packed()
    np.testing.assert_array_equal(cloud(batch, theta=tf.zeros([3, small.K])), cloud(batch))


def test_junctions_can_be_switched_off():  # Table 4
    metapatch = MetaPatch(length=2, widths=(5, 4, 3), bottlenecks=(2, 2, 2), junctions=(False, True, False))
    first, second, third = metapatch(tf.ones([2]))
    assert first is None
    assert third is None
    assert second.down.shape == (4, 2)
    assert len(metapatch.trainable_variables) == 4


def test_a_bottleneck_of_no_width_is_named_where_there_is_a_patch():
    MetaPatch(length=2, widths=(5, 4), bottlenecks=(2, 0), junctions=(True, False))
    with pytest.raises(ValueError, match=r"bottlenecks: expected R of at least 1 .*, got \(2, 0\)"):
        MetaPatch(length=2, widths=(5, 4), bottlenecks=(2, 0))


def test_gradient_at_the_start_is_not_zero():
    """A device starts at U(0, u): there every junction's patch, weights included, must pull on the vector."""
    cloud, batch = small.cloud(), small.packed()
    theta = cloud.encoder.start(batch["profile"])
    with tf.GradientTape() as tape:
        tape.watch(theta)
        loss = tf.reduce_mean(cross_entropy(cloud(batch, theta=theta), tf.ones([3, 4, 2])))
    assert (np.linalg.norm(tape.gradient(loss, theta), axis=1) > 1e-5).all()


def test_gradient_equals_finite_differences():
    cloud, batch = small.cloud(activation="silu"), small.packed()  # smooth: a kink would spoil the differences
    theta = np.random.default_rng(0).normal(size=(3, small.K)).astype(np.float32)

    def loss(values):
        return tf.reduce_sum(cross_entropy(cloud(batch, theta=values), tf.ones([3, 4, 2])))

    with tf.GradientTape() as tape:
        variable = tf.Variable(theta)
        value = loss(variable)
    gradient = tape.gradient(value, variable).numpy()
    for row, k in np.ndindex(3, small.K):
        step = np.zeros_like(theta)
        step[row, k] = 1e-2
        slope = (loss(tf.constant(theta + step)) - loss(tf.constant(theta - step))) / 2e-2
        assert gradient[row, k] == pytest.approx(float(slope), abs=2e-3)


def test_wrong_number_of_bottlenecks_is_named():
    with pytest.raises(ValueError, match="bottlenecks"):
        MetaPatch(length=2, widths=(5, 4), bottlenecks=(2,))


def test_encoder_by_hand():  # Eq. 6
    encoder = AuxEncoder(length=2, profile_sizes=(2, 3))
    w3 = np.arange(10, dtype=np.float32).reshape(5, 2) / 10
    w1, w2 = np.array([[1.0, 2.0], [0.0, 1.0]], np.float32), np.array([[0.5, 0.0], [1.0, 1.0]], np.float32)
    encoder.w1.assign(w1), encoder.w2.assign(w2), encoder.w3.assign(w3)
    theta = np.array([[1.0, -1.0]], np.float32)
    # profile (1, 2): rows 1 and 2 + 2 of the one table.
    expected = np.tanh(theta @ w2 + w3[1] + w3[4]) @ w1
    np.testing.assert_allclose(encoder(tf.constant(theta), tf.constant([[1, 2]])), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.start(tf.constant([[1, 2]])), np.tanh(w3[1:2] + w3[4:5]) @ w1, atol=1e-6)

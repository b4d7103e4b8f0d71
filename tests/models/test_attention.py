"""The attention's softmax: its hand-written gradient, and the empty slot."""

import numpy as np
import tensorflow as tf

from dccl_tf.models.attention import NEVER, TargetAttention, _softmax


def random(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape), tf.float32)


def test_gradients_are_tensorflows_own():
    scores, recency, upstream = random(2, 2, 3, 4, 6), random(2, 3, 6), random(2, 2, 3, 4, 6)
    mask = tf.where(random(2, 1, 3, 1, 6) > 0, 0.0, NEVER)
    found = []
    for softmax in (_softmax, lambda s, r, m: tf.nn.softmax(s + r[None, :, :, None, :] + m)):
        with tf.GradientTape() as tape:
            tape.watch([scores, recency])
            total = tf.reduce_sum(softmax(scores, recency, mask) * upstream)
        found.append(tape.gradient(total, [scores, recency]))
    for ours, stock in zip(*found, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_one_item_of_score_zero_weighs_half():
    """exp(0) / (exp(0) + exp(0)): the item against the empty slot."""
    attention = TargetAttention(history_length=1, width=2, heads=1)
    attention.query.kernel.assign(tf.zeros([2, 2]))
    attention.value.kernel.assign(tf.eye(2))
    interest = attention(tf.constant([[[4.0, 6.0]]]), tf.ones([1, 1, 1, 2]), tf.constant([[True]]))
    np.testing.assert_allclose(interest, [[[[2.0, 3.0]]]], atol=1e-6)

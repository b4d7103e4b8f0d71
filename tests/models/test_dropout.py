"""Dropout by bytes: what is dropped, what is kept, and that a seed tells which."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.models.dropout import ByteDropout

COUNT = 100_003  # no multiple of the four bytes of a random word


def dropped(rate: float, seed: int = 0) -> np.ndarray:
    return ByteDropout(rate, seed=seed)(tf.ones([COUNT]), training=True).numpy()


@pytest.mark.parametrize(("rate", "share"), [(0.2, 51 / 256), (0.5, 0.5), (0.999, 255 / 256)])
def test_share_of_zeros_and_what_the_others_become(rate, share):
    found = dropped(rate)
    np.testing.assert_allclose(found[found > 0], 1 / (1 - share), rtol=1e-6)
    deviation = (share * (1 - share) / COUNT) ** 0.5
    assert (found == 0).mean() == pytest.approx(share, abs=5 * deviation)


def test_the_gradient_passes_where_the_value_did():
    x = tf.ones([8, 9])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ByteDropout(0.4, seed=1)(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


@pytest.mark.parametrize(("rate", "training"), [(0.2, False), (0.0, True), (0.001, True)])
def test_nothing_is_dropped(rate, training):
    x = tf.ones([50, 7])
    np.testing.assert_array_equal(ByteDropout(rate)(x, training=training), x)


def test_seeds_and_calls_differ():
    assert (dropped(0.5) == dropped(0.5)).all()
    assert (dropped(0.5) != dropped(0.5, seed=1)).any()
    layer = ByteDropout(0.5, seed=0)
    assert (layer(tf.ones([64]), training=True).numpy() != layer(tf.ones([64]), training=True).numpy()).any()


def test_batch_of_unknown_size():
    layer = ByteDropout(0.5, seed=0)
    call = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec([None, 3])])
    assert call(tf.ones([5, 3])).shape == (5, 3)


def test_config_makes_it_anew():
    layer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ByteDropout(0.3, seed=4)))
    assert (type(layer), layer.rate, layer.seed) == (ByteDropout, 0.3, 4)

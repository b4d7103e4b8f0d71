"""Dropout whose random numbers cost a quarter: one byte an element, where a step of DIN spent a fifth of its time."""

import keras
import tensorflow as tf

_LEVELS = 256


@keras.saving.register_keras_serializable(package="dccl")
class ByteDropout(keras.layers.Dropout):
    """Keras's dropout, with the rate rounded to a multiple of 1 / 256 (0.2 becomes 51 / 256).

    What is kept is divided by the rounded share of what is kept, so that the expectation is exact.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Any shape; without `training` the inputs as they are."""
        threshold = min(round(self.rate * _LEVELS), _LEVELS - 1)
        if not training or threshold == 0:
            return inputs
        count = tf.size(inputs)
        seed = tf.cast(self.seed_generator.next(), tf.int32)  # [2]
        replicas = tf.distribute.get_replica_context()
        if replicas is not None and replicas.num_replicas_in_sync > 1:  # each draws for rows of its own
            seed += tf.stack([tf.cast(replicas.replica_id_in_sync_group, tf.int32), 0])
        words = tf.random.stateless_uniform([(count + 3) // 4], seed, minval=None, maxval=None, dtype=tf.int32)
        draws = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count], tf.shape(inputs))
        return inputs * (tf.cast(draws >= threshold, inputs.dtype) * (_LEVELS / (_LEVELS - threshold)))

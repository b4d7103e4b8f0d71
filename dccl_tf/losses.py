"""The two losses of the paper: pointwise cross-entropy (Eq. 3, 4) and the Bernoulli KL of Eq. 5 and 7.

Both are element-wise and in nats; who calls them weighs and sums. `weighted_sum` gives the pair of sums from
which a mean over any number of workers is exact.
"""

import tensorflow as tf

from dccl_tf.exportable import cross_entropy

__all__ = ["bernoulli_kl", "cross_entropy", "weighted_sum"]


def bernoulli_kl(teacher_logits: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """KL(teacher || student) between Bernoulli distributions given by logits, element by element.

    The gradient with respect to `logits` is sigmoid(logits) - sigmoid(teacher_logits): exactly zero where they
    agree. None flows to the teacher.
    """
    teacher_logits = tf.stop_gradient(teacher_logits)
    teacher = tf.sigmoid(teacher_logits)
    return cross_entropy(logits, teacher) - cross_entropy(teacher_logits, teacher)


def weighted_sum(values: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sum of `values` [B, S, C] under `weights` [B, S], and the sum of the weights over candidates too.

    Returns:
      (sum of weight * value, sum of weight): scalars; their quotient is the mean over real samples.
    """
    candidates = tf.cast(tf.shape(values)[-1], values.dtype)
    return tf.reduce_sum(values * weights[..., None]), tf.reduce_sum(weights) * candidates

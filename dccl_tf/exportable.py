"""Operations whose gradients are TFLite builtins, for everything between a patch and the loss.

The stock gradients of ReLU and its kin (`ReluGrad`, ...) exist only in the Flex delegate, which the pip wheels
do not carry, so a device could not run them. The values here are the stock ones; only the gradient is written
out in builtin operators.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

Activation = Callable[[tf.Tensor], tf.Tensor]


@tf.custom_gradient
def relu(x: tf.Tensor) -> tuple[tf.Tensor, Activation]:
    """max(x, 0) of any shape, with the gradient as a product with the mask x > 0."""
    return tf.nn.relu(x), lambda upstream: upstream * tf.cast(x > 0, upstream.dtype)


@tf.custom_gradient
def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Pointwise binary cross-entropy on logits (Eq. 3), element by element, stable for any logit.

    Args:
      logits: float, any shape.
      targets: probabilities in [0, 1], same shape; no gradient flows to them.

    Returns:
      Losses of the same shape, in nats.
    """
    losses = tf.maximum(logits, 0.0) - logits * targets + tf.math.log(1.0 + tf.exp(-tf.abs(logits)))
    return losses, lambda upstream: (upstream * (tf.sigmoid(logits) - targets), None)


# Activations by name. The others' stock gradients convert as they are (measured on TF 2.21).
ACTIVATIONS: dict[str, Activation] = {
    "relu": relu,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "silu": lambda x: x * tf.sigmoid(x),
    "softplus": tf.math.softplus,
}


def activation(name: str | Activation) -> Activation:
    """The activation called `name`; a function is returned as it is (export then checks its gradient).

    Raises:
      ValueError: the name is unknown, or a model with this function could not be saved and loaded.
    """
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    if not callable(name) or not _comes_back(name):
        raise ValueError(
            f"activation: expected one of {', '.join(ACTIVATIONS)} or a function that is registered with "
            f"keras.saving.register_keras_serializable, got {name!r}"
        )
    return name


def _comes_back(function: Activation) -> bool:
    """Whether it is the same after it was saved and loaded: some of tf.nn come back as others of keras.activations."""
    if getattr(function, "__name__", "") == "<lambda>":
        return False  # of which Keras warns
    try:
        return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(function)) is function
    except (TypeError, ValueError):
        return False

"""The optimiser of a metapatch vector, written out: it runs inside the exported file and in the fleet alike.

A Keras optimiser does not survive conversion to TFLite; on K floats a few lines are enough. The formulas are
those of docs/protocol.md. All functions take any leading shape: [K] on a device, [M, K] for M devices at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Adam's usual 0.9, 0.999 and 1e-7, moved to the nearest values that float16 holds exactly, 1 - beta too: in a file
# with float16 constants 0.999 would become 0.99902 while 0.001 stays, and every step would be off by a percent.
BETA_1, BETA_2, EPSILON = 29 / 32, 1 - 2**-10, 2**-23
MOMENTUM = BETA_1


class VectorState(NamedTuple):
    """A metapatch and what its optimiser remembers; `get` and `set` of the exported file carry the same four."""

    vector: tf.Tensor  # [..., K]
    first_moment: tf.Tensor  # [..., K]
    second_moment: tf.Tensor  # [..., K]; stays 0 with SGD
    step: tf.Tensor  # [..., 1] float32, steps done


def start(vector: tf.Tensor) -> VectorState:
    """The state before the first step."""
    return VectorState(vector, tf.zeros_like(vector), tf.zeros_like(vector), tf.zeros_like(vector[..., :1]))


def adam(state: VectorState, gradient: tf.Tensor, learning_rate: tf.Tensor) -> VectorState:
    """One step of Adam (Kingma and Ba, 2015). `learning_rate` broadcasts against [..., K]."""
    step = state.step + 1.0
    first = BETA_1 * state.first_moment + (1.0 - BETA_1) * gradient
    second = BETA_2 * state.second_moment + (1.0 - BETA_2) * gradient * gradient
    scale = tf.sqrt(1.0 - tf.pow(BETA_2, step)) / (1.0 - tf.pow(BETA_1, step))
    vector = state.vector - learning_rate * scale * first / (tf.sqrt(second) + EPSILON)
    return VectorState(vector, first, second, step)


def sgd(state: VectorState, gradient: tf.Tensor, learning_rate: tf.Tensor) -> VectorState:
    """One step of gradient descent with momentum 29/32."""
    first = MOMENTUM * state.first_moment + gradient
    return VectorState(state.vector - learning_rate * first, first, state.second_moment, state.step + 1.0)


OPTIMIZERS: dict[str, Callable[[VectorState, tf.Tensor, tf.Tensor], VectorState]] = {"adam": adam, "sgd": sgd}


def optimizer(name: str) -> Callable[[VectorState, tf.Tensor, tf.Tensor], VectorState]:
    """The update called `name`.

    Raises:
      ValueError: the name is unknown.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}")
    return OPTIMIZERS[name]


def masked(active: tf.Tensor, after: VectorState, before: VectorState) -> VectorState:
    """`after` where `active` [..., 1] is true, else `before`: a batch without weight must change nothing."""
    return VectorState(*(tf.where(active, new, old) for new, old in zip(after, before, strict=True)))

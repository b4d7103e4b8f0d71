"""An exponential moving average of weights while they train: what a model is judged by and ends with.

A single epoch's weights depend on which batches came last; their average does not, and generalises better (Polyak
and Juditsky, 1992; Izmailov et al., 2018). The window grows with the run, as TensorFlow's
`ExponentialMovingAverage(num_updates=...)` does it, so that the first weights are soon forgotten, up to a set
number of steps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf


class WeightAverage:
    """After each step t (from 1): average += (1 - decay) * (variable - average), decay = min(1 - 1 / window,
    t / (9 + t)), and 0 where the window is below one step. It begins as a copy."""

    def __init__(self, variables: Sequence[tf.Variable], window: float) -> None:
        """Args:
        variables: what is averaged.
        window: steps after which a weight counts 1 / e of the newest.
        """
        self.window = window
        self._variables = list(variables)
        self.values = [tf.Variable(variable, trainable=False) for variable in self._variables]

    def update(self, step: tf.Tensor) -> None:
        """Takes in the variables as they are after step number `step`, a scalar from 1; in cross-replica context."""
        step = tf.cast(step, tf.float32)
        new = tf.maximum(1.0 / max(self.window, 1.0), 9.0 / (9.0 + step))
        extended = tf.distribute.get_strategy().extended
        for value, variable in zip(self.values, self._variables, strict=True):
            extended.update(value, lambda mine, theirs: mine.assign_add(new * (theirs - mine)), args=(variable,))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the variables hold the average; afterwards they are what they were."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for value, variable in zip(self.values, self._variables, strict=True):
            kept = variable.numpy()
            variable.assign(value)
            value.assign(kept)

"""An exponential moving average of weights while they train: what a model is judged by and ends with.

A single epoch's weights depend on which batches came last; their average does not, and generalises better (Polyak
and Juditsky, 1992; Izmailov et al., 2018). The window grows with the run, as TensorFlow's
`ExponentialMovingAverage(num_updates=...)` does it, so that the first weights are soon forgotten, up to a set
number of steps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

_UPDATES_A_WINDOW = 64  # more of them cost time with large tables and change nothing that could be seen


class WeightAverage:
    """Begins as a copy; after every n-th step, update k (from 1) moves it towards the variables:

    average += max(n / window, 9 / (9 + k)) * (variable - average)

    n is 1 for windows of less than 128 steps. A window below one step gives the variables themselves.
    """

    def __init__(self, variables: Sequence[tf.Variable], window: float) -> None:
        """Args:
        variables: what is averaged.
        window: steps after which a weight counts 1 / e of the newest.
        """
        self._variables = list(variables)
        self.values = [tf.Variable(variable, trainable=False) for variable in self._variables]
        self._window = max(window, 1.0)
        self._every = max(1, int(self._window // _UPDATES_A_WINDOW))
        self._move = tf.function(self._move_by)

    def update(self, step: int) -> None:
        """Takes in the variables as they are after step number `step`, from 1; in cross-replica context."""
        if step % self._every == 0:
            new = max(self._every / self._window, 9.0 / (9.0 + step // self._every))
            self._move(tf.constant(new))

    def _move_by(self, new: tf.Tensor) -> None:
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

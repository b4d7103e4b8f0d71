"""The junction cache: what lies below the first junction, computed once a session for every row.

No metapatch changes it, so all epochs and all held-out losses read the encoded rows. They take 4 F bytes a row (2.6 MB
for 10,000 rows at F = 64), so the bound of the log bounds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from device_runtime.errors import InputError
from device_runtime.interpreter.engine import Batch, Engine, Window
from device_runtime.learning.rows import Rows


@dataclass(frozen=True)
class EncodedRows:
    """N rows as `train_encoded` and `evaluate_encoded` take them."""

    hidden: np.ndarray  # [N, F] float32
    labels: np.ndarray  # [N] float32

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: np.ndarray) -> Batch:
        """The rows [B] as a batch; -1 gives a row of zeros with weight 0."""
        weights = (rows >= 0).astype(np.float32)
        hidden, labels = self.hidden.take(rows, axis=0), self.labels.take(rows)
        if weights.all():  # all batches but the last of an epoch
            return Batch(hidden, labels, weights)
        return Batch(hidden * weights[:, None], labels * weights, weights)


def encode(engine: Engine, rows: Rows, profile: np.ndarray) -> EncodedRows:
    """Runs all rows through `encode`, for a profile [P] int32.

    Raises:
      InputError: a label is outside [0, 1], or an id outside 0..V+1.
    """
    if not ((rows.labels >= 0) & (rows.labels <= 1)).all():
        raise InputError(f"labels: expected values in [0, 1], got {rows.labels}")
    size = engine.manifest.train_batch
    hidden = np.empty((len(rows), engine.manifest.encoded_width), np.float32)
    for chosen, window in windows(rows, size):
        hidden[chosen] = engine.encode(window, profile)[rows.at[chosen] % size]
    return EncodedRows(hidden, rows.labels)


def windows(rows: Rows, size: int) -> Iterator[tuple[np.ndarray, Window]]:
    """Cuts the sequence of interactions into blocks of B = `size`; one call of `encode` takes a row of each.

    A row stands at the place of its interaction in the block. Where interactions have several rows, the first row of
    each goes into one call, the second into the next, and so on.

    Yields:
      The rows of a call [at most B], and its window.
    """
    nth = np.arange(len(rows)) - np.searchsorted(rows.at, rows.at)  # of its interaction
    block = rows.at // size
    order = np.lexsort((nth, block))
    new = (np.diff(block[order]) != 0) | (np.diff(nth[order]) != 0)
    for chosen in np.split(order, np.flatnonzero(new) + 1):
        if not len(chosen):
            return
        begin = size * block[chosen[0]]
        candidates = np.zeros(size, np.int32)
        candidates[rows.at[chosen] - begin] = rows.candidates[chosen]
        length = rows.history_length + size - 1
        history, labels = (_cut(part, begin, length) for part in (rows.items, rows.item_labels))
        yield chosen, Window(history, labels, candidates)


def _cut(sequence: np.ndarray, begin: int, length: int) -> np.ndarray:
    """`length` values from `begin` on, zeros where the sequence ends before."""
    part, cut = sequence[begin : begin + length], np.zeros(length, sequence.dtype)
    cut[: len(part)] = part
    return cut

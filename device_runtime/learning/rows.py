"""From the log's raw samples to the rows that a model trains on, in one bundle's ids."""

from dataclasses import dataclass, replace

import numpy as np

from device_runtime.bundle.vocabulary import Vocabulary
from device_runtime.learning.schedule import mix64
from device_runtime.log.samples import History, LoggedSamples


@dataclass(frozen=True)
class Rows:
    """N rows in the order in which they were logged. Histories are windows of one padded sequence."""

    items: np.ndarray  # [T + n] int32: T of padding, then the whole history of n interactions
    item_labels: np.ndarray  # [T + n] int32
    history_length: int  # T
    at: np.ndarray  # [N] index of the row's interaction: its history is `items[at : at + T]`
    candidates: np.ndarray  # [N] int32
    labels: np.ndarray  # [N] float32

    def __len__(self) -> int:
        return len(self.candidates)

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows of these numbers [M], which ascend."""
        return replace(self, at=self.at[rows], candidates=self.candidates[rows], labels=self.labels[rows])


def encode_history(history: History, vocabulary: Vocabulary, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The newest `length` items and labels, right-aligned, 0 on the left: two [T] int32 arrays."""
    items, labels = np.zeros(length, np.int32), np.zeros(length, np.int32)
    newest = history.items[-length:]
    if newest:
        items[-len(newest) :] = vocabulary.encode(newest)
        labels[-len(newest) :] = history.labels[-length:]
    return items, labels


def encode_rows(
    logged: LoggedSamples, vocabulary: Vocabulary, history_length: int, negatives: int = 0, seed: int = 0
) -> Rows:
    """The log's samples as rows.

    Args:
      logged: what `SampleLog.read` gives.
      vocabulary: the bundle's.
      history_length: T.
      negatives: items to draw, with label 0, for each click that was logged without anything skipped beside it;
        for logs of clicks alone. Items that the user has met, or that were shown, are never drawn.
      seed: of the draw; one seed, one log, one draw.
    """
    padding = np.zeros(history_length, np.int32)
    history = np.concatenate([padding, vocabulary.encode(logged.history.items)])
    rows = Rows(
        items=history,
        item_labels=np.concatenate([padding, logged.history.labels.astype(np.int32)]),
        history_length=history_length,
        at=logged.at,
        candidates=vocabulary.encode(logged.items),
        labels=logged.labels,
    )
    if not negatives or not len(rows):
        return rows
    return _with_negatives(rows, vocabulary.encode(logged.met), len(vocabulary), negatives, seed)


def _with_negatives(rows: Rows, older: np.ndarray, items: int, negatives: int, seed: int) -> Rows:
    """`older`: model ids that the user met before what is left of the history."""
    met = np.zeros(items + 2, bool)
    met[rows.items] = met[rows.candidates] = met[older] = True
    met[[0, items + 1]] = True
    allowed = np.flatnonzero(~met)  # model ids that may be drawn
    alone = np.bincount(rows.at)[rows.at] == 1
    clicks = np.flatnonzero(alone & (rows.labels > 0))
    count = min(negatives, len(allowed))
    if not count or not len(clicks):
        return rows
    drawn = _draw(allowed, count, seed, rows.at[clicks]).ravel()
    owners = np.repeat(clicks, count)
    order = np.argsort(np.concatenate([np.arange(len(rows)), owners]), kind="stable")  # after their click
    return Rows(
        items=rows.items,
        item_labels=rows.item_labels,
        history_length=rows.history_length,
        at=np.concatenate([rows.at, rows.at[owners]])[order],
        candidates=np.concatenate([rows.candidates, drawn])[order],
        labels=np.concatenate([rows.labels, np.zeros(len(drawn), np.float32)])[order],
    )


def _draw(allowed: np.ndarray, count: int, seed: int, interactions: np.ndarray) -> np.ndarray:
    """`count` different ids for each of n interactions [n], int32 [n, count]; what one gets does not depend on the
    others, and is the same for one seed in every version of NumPy."""
    starts = mix64(np.uint64(seed % (1 << 32) << 32) | interactions.astype(np.uint64))
    tries = max(4 * count, 16)
    with np.errstate(over="ignore"):
        places = mix64(starts[:, None] + np.arange(tries, dtype=np.uint64)) % np.uint64(len(allowed))
    order = np.argsort(places, axis=1, kind="stable")
    ascending = np.take_along_axis(places, order, axis=1)
    new = np.ones_like(places, bool)  # by `order`: the first try of its place
    new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    chosen = first & (np.cumsum(first, axis=1) <= count)
    drawn = np.empty((len(places), count), np.int64)
    enough = chosen.sum(axis=1) == count
    drawn[enough] = places[enough][chosen[enough]].reshape(-1, count)
    for row in np.flatnonzero(~enough):  # few items are left: fill up with the others in their order
        found = places[row][chosen[row]]
        rest = np.setdiff1d(np.arange(len(allowed), dtype=np.uint64), found)
        drawn[row] = np.concatenate([found, rest[: count - len(found)]])
    return allowed[drawn].astype(np.int32)

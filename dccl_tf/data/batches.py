"""Packed rows: S consecutive positions of one user share one stretch of history, and each of them is a sample.

rows = pack(log, split.pretrain, history_length=50, positions=32)
for batch in batches(rows, log, protocol="next", batch_size=64, seed=0, epoch=0,
                     sampler=NegativeSampler(log, split.pretrain.stop)):
    ...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import tensorflow as tf

from dccl_tf.arguments import at_least_one
from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import InteractionLog, Span
from dccl_tf.data.sequences import packed_rows

_ROWS_AT_ONCE = 16384
# What a step of DIN spends on a history item, a sample, and a pair of both, in one unit: fitted to steps of its default
# widths on two cores (S from 4 to 32, T 20 to 200).
_COST_OF_ITEM, _COST_OF_SAMPLE, _COST_OF_PAIR = 10.0, 22.0, 0.2


@dataclass(frozen=True)
class Rows:
    """N packed rows. Target s of a row is `items[:, T + s]`, its history is `items[:, s : s + T]`."""

    items: np.ndarray  # [N, T + S] int32, 0 = padding
    labels: np.ndarray | None  # [N, T + S] int8
    users: np.ndarray  # [N] int32
    first: np.ndarray  # [N] int64, position of target 0 in the user's sequence
    weights: np.ndarray  # [N, S] float32, 1 where the target's position belongs to the span, else 0

    def __len__(self) -> int:
        return len(self.users)


def pack(log: InteractionLog, span: Span, history_length: int, positions: int) -> Rows:
    """Packs all positions of a span, user by user and oldest first.

    Only items before the end of the span are in the rows, and only the newest T before each row's first target: a
    user with a million interactions costs what his or her span costs.

    Args:
      log: all interactions.
      span: the positions to learn from.
      history_length: T.
      positions: S.
    """
    at_least_one(history_length=history_length, positions=positions)
    per_user = packed_rows(span, positions)
    users = np.repeat(np.arange(len(per_user)), per_user)
    number = np.arange(len(users)) - np.repeat(np.cumsum(per_user) - per_user, per_user)
    first = span.start[users] + number * positions
    items, labels = _windows(log, users, first, span.stop[users], history_length, positions)
    weights = (first[:, None] + np.arange(positions) < span.stop[users][:, None]).astype(np.float32)
    return Rows(items, labels, users.astype(np.int32), first.astype(np.int64), weights)


def best_positions(span: Span, history_length: int, candidates: int) -> int:
    """S at which an epoch of DIN costs least: long rows share their history, short ones hold less padding.

    A batch should keep its number of positions: B = 2048 // S, say.

    Args:
      span: the positions to learn from.
      history_length: T.
      candidates: C, samples at each position.

    Returns:
      A power of two from 1 to 64.
    """
    at_least_one(history_length=history_length, candidates=candidates)

    def cost(positions: int) -> float:
        length = history_length + positions - 1
        a_row = _COST_OF_ITEM * length + positions * candidates * (_COST_OF_SAMPLE + _COST_OF_PAIR * length)
        return a_row * float(packed_rows(span, positions).sum())

    return min((2**power for power in range(7)), key=cost)


def point_rows(
    log: InteractionLog, users: np.ndarray, positions: np.ndarray, history_length: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Histories before one position each.

    Args:
      log: all interactions.
      users: int [N].
      positions: int [N] in those users' sequences; a user's length asks for what comes next.
      history_length: T.

    Returns:
      history int32 [N, T] and its labels int8 [N, T], None where the log has none.
    """
    at_least_one(history_length=history_length)
    users, positions = np.asarray(users, np.int64), np.asarray(positions, np.int64)
    wrong = (positions < 0) | (positions > log.lengths[users])
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"positions: expected 0 to {log.lengths[users[row]]} for user {users[row]}, got {positions[row]}"
        )
    return _windows(log, users, positions, positions, history_length, 0)


def batches(
    rows: Rows,
    log: InteractionLog,
    *,
    protocol: str,
    batch_size: int,
    seed: int,
    epoch: int,
    negatives: int = 4,
    sampler: NegativeSampler | None = None,
) -> tf.data.Dataset:
    """One epoch of batches of B rows; the last is filled up with rows of weight 0.

    Args:
      rows: what `pack` made.
      log: the log that they come from.
      protocol: "next": each target competes with items drawn for it anew every epoch. "liked": each target alone,
        with its label.
      batch_size: B, rows.
      seed: of the order of rows and of the items drawn.
      epoch: 0-based. The same seed and epoch give the same batches.
      negatives: items drawn for each target, protocol "next".
      sampler: whom to ask for them, protocol "next".

    Returns:
      A dataset of dicts: history int32 [B, T + S - 1]; history_labels int32 of that shape (protocol "liked"); profile
      int32 [B, P]; users int32 [B]; candidates int32 [B, S, C]; targets float32 [B, S, C]; weights float32 [B, S].
      C is 1 + negatives with the true item first, or 1.

    Raises:
      ValueError: an unknown protocol, no sampler for "next", no labels for "liked".
    """
    at_least_one(batch_size=batch_size)
    filler = _Filler(rows, log, protocol, negatives, sampler, seed, epoch)
    empty = filler(np.full(batch_size, -1))
    names = sorted(empty)

    def fill(chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.numpy_function(
            lambda chosen: itemgetter(*names)(filler(chosen)), [chosen], [empty[name].dtype for name in names]
        )
        return {name: tf.ensure_shape(v, empty[name].shape) for name, v in zip(names, values, strict=True)}

    order = np.random.default_rng([seed, epoch]).permutation(len(rows))
    order = np.concatenate([order, np.full(-len(rows) % batch_size, -1)]).astype(np.int64)
    chosen = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
    made = chosen.map(fill, num_parallel_calls=2, deterministic=True).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # it has nothing to tune, and can hold up the end of an epoch as long as that took
    return made.with_options(options)


def batches_in_order(
    rows: Rows,
    log: InteractionLog,
    *,
    protocol: str,
    batch_size: int,
    seed: int,
    epoch: int,
    negatives: int = 4,
    sampler: NegativeSampler | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """The samples of `batches` user by user, oldest first, as NumPy arrays. It leaves nothing behind: TensorFlow keeps
    what is behind a pipeline that calls Python until the process ends."""
    at_least_one(batch_size=batch_size)
    filler = _Filler(rows, log, protocol, negatives, sampler, seed, epoch)
    order = np.concatenate([np.arange(len(rows)), np.full(-len(rows) % batch_size, -1)])
    for chosen in order.reshape(-1, batch_size):
        yield filler(chosen)


class _Filler:
    """Row numbers to the arrays of a batch; the number -1 gives a row of padding."""

    def __init__(
        self,
        rows: Rows,
        log: InteractionLog,
        protocol: str,
        negatives: int,
        sampler: NegativeSampler | None,
        seed: int,
        epoch: int,
    ) -> None:
        """As for `batches`."""
        if protocol not in ("next", "liked"):
            raise ValueError(f"protocol: expected 'next' or 'liked', got {protocol!r}")
        if protocol == "next" and sampler is None:
            raise ValueError("sampler: protocol 'next' expects a NegativeSampler, got None")
        if protocol == "liked" and rows.labels is None:
            raise ValueError("rows: protocol 'liked' expects rows with labels, got rows of a log without")
        self.rows, self.profile = rows, log.users.profile
        self.sampler = sampler if protocol == "next" else None
        self.negatives, self.seed, self.epoch = negatives, seed, epoch

    def __call__(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """chosen int64 [B]."""
        rows = self.rows
        items, users, weights = (_take(column, chosen) for column in (rows.items, rows.users, rows.weights))
        targets = items[:, items.shape[1] - weights.shape[1] :]  # [B, S]
        batch = {"history": items[:, :-1], "profile": self.profile[users], "users": users, "weights": weights}
        if self.sampler is None:
            labels = _take(rows.labels, chosen)
            return batch | {
                "history_labels": labels[:, :-1].astype(np.int32),
                "candidates": targets[..., None],
                "targets": labels[:, -targets.shape[1] :, None].astype(np.float32),
            }
        row, place = np.nonzero(weights)
        position = rows.first[chosen[row]] + place
        drawn = np.zeros((*targets.shape, self.negatives), np.int32)
        drawn[row, place] = self.sampler.draw_for(
            users[row], position, self.negatives, seed=self.seed, epoch=self.epoch
        )
        candidates = np.concatenate([targets[..., None], drawn], axis=-1)
        true = np.zeros(candidates.shape, np.float32)
        true[..., 0] = weights
        return batch | {"candidates": candidates, "targets": true}


def _take(column: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows of a column, zeros where the number is -1."""
    real = chosen >= 0
    taken = np.zeros((len(chosen), *column.shape[1:]), column.dtype)
    taken[real] = column[chosen[real]]
    return taken


def _windows(
    log: InteractionLog, users: np.ndarray, first: np.ndarray, stop: np.ndarray, before: int, after: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Items and labels at positions first - before to first + after of each row; 0 outside [0, stop)."""
    items = np.zeros((len(users), before + after), np.int32)
    labels = None if log.labels is None else np.zeros(items.shape, np.int8)
    for begin in range(0, len(users), _ROWS_AT_ONCE):
        part = slice(begin, begin + _ROWS_AT_ONCE)
        position = first[part, None] + np.arange(-before, after)
        real = (position >= 0) & (position < stop[part, None])
        where = (log.offsets[users[part], None] + position)[real]
        items[part][real] = log.items[where]
        if labels is not None:
            labels[part][real] = log.labels[where]
    return items, labels

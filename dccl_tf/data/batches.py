"""Packed rows: S positions of one user trained at once, instead of a copy of the T items before each sample."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import InteractionLog, Span


@dataclass(frozen=True)
class Rows:
    """N packed rows. Target s of a row is `items[:, T + s]`, and its history is `items[:, s : s + T]`."""

    items: np.ndarray  # [N, T + S] int32, 0 = padding
    labels: np.ndarray | None  # [N, T + S] int8
    users: np.ndarray  # [N] int32
    first: np.ndarray  # [N] int64, position in the user's sequence of target 0
    weights: np.ndarray  # [N, S] float32, 1 where the target belongs to the span

    @property
    def padding(self) -> float:
        """Share of positions that are filled with nothing."""
        return float(1.0 - self.weights.mean()) if self.weights.size else 0.0


def pack(log: InteractionLog, span: Span, history_length: int, positions: int) -> Rows:
    """Cuts each user's span into rows of `positions` targets, with the T items before the first as context.

    Args:
      log: all interactions.
      span: the targets.
      history_length: T.
      positions: S.
    """
    if history_length < 1 or positions < 1:
        raise ValueError(f"history_length, positions: expected at least 1, got {history_length} and {positions}")
    count = np.maximum(span.stop - span.start, 0)
    rows_of_user = -(-count // positions)
    users = np.repeat(np.arange(len(count)), rows_of_user)
    number = np.arange(len(users)) - np.repeat(np.cumsum(rows_of_user) - rows_of_user, rows_of_user)
    first = span.start[users] + number * positions
    place = first[:, None] + np.arange(-history_length, positions)[None, :]  # position in the user's sequence
    inside = (place >= 0) & (place < np.minimum(span.stop, log.lengths)[users, None])
    index = np.where(inside, log.offsets[users, None] + place, 0)
    return Rows(
        items=_taken(log.items, index, inside),
        labels=None if log.labels is None else _taken(log.labels, index, inside),
        users=users.astype(np.int32),
        first=first,
        weights=inside[:, history_length:].astype(np.float32),
    )


def point_rows(
    log: InteractionLog, users: np.ndarray, positions: np.ndarray, history_length: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The histories before one position of each user.

    Args:
      log: all interactions.
      users: [M].
      positions: [M] in each user's sequence.
      history_length: T.

    Returns:
      history int32 [M, T] and its labels int32 [M, T] (None if the log has none).
    """
    place = positions[:, None] + np.arange(-history_length, 0)[None, :]
    inside = place >= 0
    index = np.where(inside, log.offsets[users, None] + place, 0)
    labels = None if log.labels is None else _taken(log.labels, index, inside).astype(np.int32)
    return _taken(log.items, index, inside), labels


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
    shuffle: bool = True,
) -> tf.data.Dataset:
    """One epoch of training batches; (seed, epoch) decides order and negatives.

    Args:
      rows: as `pack` gives them.
      log: for the profiles.
      protocol: "next": candidate 0 is the true item, the others are drawn anew each epoch, targets 1 and 0.
        "liked": the true item alone, its label is the target, and the history has labels.
      batch_size: B rows; the last batch is filled up with rows of weight 0.
      seed, epoch: of order and negatives.
      negatives: drawn for each position, protocol "next".
      sampler: where they are drawn from, protocol "next".
      shuffle: False keeps the rows in order.

    Returns:
      Dicts of history int32 [B, T + S - 1], history_labels int32 likewise ("liked" alone), profile int32 [B, P],
      users int32 [B], candidates int32 [B, S, C], targets float32 [B, S, C], weights float32 [B, S].
    """
    if protocol == "next" and sampler is None:
        raise ValueError("sampler: protocol 'next' needs one to draw negatives from, got None")
    if protocol == "liked" and rows.labels is None:
        raise ValueError("rows: protocol 'liked' needs labels, and this log has none")
    count, positions = len(rows.users), rows.weights.shape[1]
    history_length = rows.items.shape[1] - positions

    def generate() -> Iterator[dict[str, np.ndarray]]:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(count) if shuffle else np.arange(count)
        for begin in range(0, count, batch_size):
            chosen = order[begin : begin + batch_size]
            filled = np.pad(chosen, (0, batch_size - len(chosen)), mode="wrap")
            users, items = rows.users[filled], rows.items[filled]
            weights = rows.weights[filled] * (np.arange(batch_size) < len(chosen))[:, None].astype(np.float32)
            true = items[:, history_length:, None]
            batch = {"history": items[:, :-1], "profile": log.users.profile[users], "users": users, "weights": weights}
            if protocol == "next":
                drawn = sampler.draw(np.broadcast_to(users[:, None], (batch_size, positions)), negatives, rng)
                batch["candidates"] = np.concatenate([true, drawn], axis=-1)
                batch["targets"] = np.zeros(batch["candidates"].shape, np.float32)
                batch["targets"][..., 0] = 1.0
            else:
                labels = rows.labels[filled]
                batch["candidates"] = true
                batch["targets"] = labels[:, history_length:, None].astype(np.float32)
                batch["history_labels"] = labels[:, :-1].astype(np.int32)
            yield batch

    candidates = (batch_size, positions, 1 + negatives if protocol == "next" else 1)
    shapes = {
        "history": ((batch_size, history_length + positions - 1), tf.int32),
        "profile": ((batch_size, log.users.profile.shape[1]), tf.int32),
        "users": ((batch_size,), tf.int32),
        "weights": ((batch_size, positions), tf.float32),
        "candidates": (candidates, tf.int32),
        "targets": (candidates, tf.float32),
    }
    if protocol == "liked":
        shapes["history_labels"] = shapes["history"]
    signature = {name: tf.TensorSpec(shape, dtype) for name, (shape, dtype) in shapes.items()}
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(4)


def _taken(values: np.ndarray, index: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """values[index] where `inside`, else 0."""
    return np.where(inside, values[index], values.dtype.type(0)) if len(values) else np.zeros(index.shape, values.dtype)

"""From columns of a log to each user's chronological sequence, and from sequences to the phases of Algorithm 1.

Positions count from 0, a user's oldest interaction. Every position may be learned from, the first one too: its
history is empty and the profile alone speaks.
"""

from itertools import pairwise

import numpy as np

from dccl_tf.data.schema import Catalogue, InteractionLog, Span, Split, Users


def sorted_log(
    owners: np.ndarray,
    items: np.ndarray,
    timestamps: np.ndarray,
    labels: np.ndarray | None,
    *,
    users: Users,
    catalogue: Catalogue,
    counts: dict[str, int] | None = None,
    source: str = "",
) -> InteractionLog:
    """Sorts flat columns by user and time; interactions of one user at one time keep the order they come in.

    Args:
      owners: [N] whose interaction it is, 0..U-1.
      items: [N] model ids, 1..V.
      timestamps: [N] whole numbers, any monotone clock.
      labels: [N] 1 or 0, or None where every interaction is positive.
      users: the U users.
      catalogue: the V items.
      counts: what the loader read and left out.
      source: where the log came from and its licence.

    Raises:
      ValueError: an owner or item outside its range, or columns of different lengths.
    """
    columns = {"owners": owners, "items": items, "timestamps": timestamps}
    if labels is not None:
        columns["labels"] = labels
    for name, column in columns.items():
        if len(column) != len(owners):
            raise ValueError(f"{name}: expected {len(owners)} values, one for each owner, got {len(column)}")
    for name, low, high in (("owners", 0, len(users) - 1), ("items", 1, len(catalogue))):
        column = columns[name]
        if len(column) and (column.min() < low or column.max() > high):
            raise ValueError(f"{name}: expected {low} to {high}, got {column.min()} to {column.max()}")
    owners = np.asarray(owners, np.int64)
    order = np.lexsort((timestamps, owners))  # lexsort is stable: ties stay as they came
    return InteractionLog(
        items=np.asarray(items, np.int32)[order],
        timestamps=np.asarray(timestamps, np.int64)[order],
        labels=None if labels is None else np.asarray(labels, np.int8)[order],
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(users)))]).astype(np.int64),
        users=users,
        catalogue=catalogue,
        counts=dict(counts or {}),
        source=source,
    )


def split_next(log: InteractionLog, rounds: int = 1) -> Split:
    """Leave-one-out and two halves (Sections 4.1.1 and 4.2.1).

    Each user's last item is test and the one before is validation. What is older is cut in the middle, by order of
    time: the first half is for pretraining, the second is cut into `rounds` equal parts; where a number does not
    divide, earlier parts are the larger ones.

    A user with 2 * rounds + 2 items takes part in everything. One with a single item is only learned from, one with
    two has no validation, and with fewer than 2 * rounds + 2 some rounds bring no item: `Split.counts` says how many.
    """
    lengths = log.lengths
    test = np.where(lengths >= 2, lengths - 1, lengths)
    valid = np.where(lengths >= 3, test - 1, test)
    return _halves(valid, test, lengths, rounds)


def split_liked(log: InteractionLog, rounds: int = 1) -> Split:
    """For labelled logs: each user's last 20% is test, the 10% before is validation, the rest is halved as in
    `split_next`.

    Shares are rounded, a half upwards, and at least 1. A user with a single item is only learned from, one with two
    has no validation, and with fewer than 2 * rounds older items some rounds bring none: see `Split.counts`.

    Raises:
      ValueError: the log has no labels.
    """
    if log.labels is None:
        raise ValueError(
            "log: protocol 'liked' expects a log with labels (a label column, or ratings and a threshold), got one "
            "without; use protocol 'next'"
        )
    lengths = log.lengths
    test = lengths - np.where(lengths >= 2, np.maximum((2 * lengths + 5) // 10, 1), 0)
    valid = test - np.where(lengths >= 3, np.maximum((lengths + 5) // 10, 1), 0)
    return _halves(valid, test, lengths, rounds)


def split_by_time(
    log: InteractionLog,
    rounds: int = 1,
    *,
    protocol: str,
    pretrain: float = 0.5,
    collaborate: float = 0.3,
    valid: float = 0.1,
) -> Split:
    """Disjoint parts by the log's timestamps, the same moments for all users (Appendix A.1).

    The paper's parts are pretraining, collaboration and test; a part for early stopping is set apart before the test.
    Moments are chosen so that the parts have the given shares of all interactions, and rounds equal shares of the
    collaboration; interactions of one moment are never parted.

    Args:
      log: all interactions.
      rounds: parts of the collaboration.
      protocol: "liked" judges every interaction of a part; "next" each user's last one of it ("evaluated on the last
        click of each user", Section 4.2.3).
      pretrain: share of the interactions, oldest.
      collaborate: the share that follows.
      valid: the share that follows; the rest is test.

    Raises:
      ValueError: shares that are not positive or leave nothing for the test; protocol "liked" without labels; a log
        whose timestamps only order each user's own interactions.
    """
    _check_rounds(rounds)
    # A table does not say of what kind its times are; where all are places they tell it themselves.
    places = np.arange(len(log.items)) - log.offsets[log.owners]
    if len(log.users) > 1 and (not log.shared_clock or (log.timestamps == places).all()):
        raise ValueError(
            "split: 'time' expects users who share a clock, got timestamps that are places in each user's own "
            "sequence; use 'halves'"
        )
    if protocol not in ("next", "liked"):
        raise ValueError(f"protocol: expected 'next' or 'liked', got {protocol!r}")
    if protocol == "liked" and log.labels is None:
        raise ValueError("log: protocol 'liked' expects a log with labels, got one without; use protocol 'next'")
    if min(pretrain, collaborate, valid) <= 0 or pretrain + collaborate + valid >= 1:
        raise ValueError(
            "pretrain, collaborate, valid: expected positive shares that add up to less than 1, "
            f"got {pretrain}, {collaborate}, {valid}"
        )
    shares = [pretrain + collaborate * part / rounds for part in range(rounds + 1)]
    shares.append(pretrain + collaborate + valid)
    cuts = [np.zeros(len(log.users), np.int64), *_positions_at(log, shares), log.lengths]
    spans = [Span(start, stop) for start, stop in pairwise(cuts)]
    judged = spans[-2:]
    if protocol == "next":
        judged = [Span(np.maximum(span.stop - 1, span.start), span.stop) for span in judged]
    return _counted(spans[0], tuple(spans[1:-2]), *judged)


def with_negatives_left(log: InteractionLog, split: Split) -> Split:
    """The split whose training ends for each user before the position where nothing untouched is left, so that every
    sample has an item to compete with. Who never touches every item keeps all; validation and test stay as they are.
    """
    owners, _, first = log.touched
    everything = np.bincount(owners, minlength=len(log.users)) == len(log.catalogue)
    if not everything.any():
        return split
    last = np.zeros(len(log.users), np.int64)
    np.maximum.at(last, owners, first)
    end = np.where(everything, last, log.lengths)
    spans = [Span(np.minimum(span.start, end), np.minimum(span.stop, end)) for span in (split.pretrain, *split.rounds)]
    return _counted(spans[0], tuple(spans[1:]), split.valid, split.test)


def packed_rows(span: Span, positions: int) -> np.ndarray:
    """Rows of S = `positions` targets that each user's part of a span fills, [U]."""
    return -(-span.lengths // positions)


def padding_share(span: Span, positions: int) -> float:
    """Share of targets that are padding when a span is packed with S positions a row; helps to choose S."""
    targets = int(packed_rows(span, positions).sum()) * positions
    return 1.0 - len(span) / targets if targets else 0.0


def _positions_at(log: InteractionLog, shares: list[float]) -> list[np.ndarray]:
    """For each share the moment before which that share of all interactions lies, as every user's position [U]."""
    ordered = np.sort(log.timestamps)
    positions = []
    for share in shares:
        moment = ordered[min(int(share * len(ordered)), len(ordered) - 1)] if len(ordered) else 0
        before = np.concatenate([[0], np.cumsum(log.timestamps < moment)])
        positions.append(before[log.offsets[1:]] - before[log.offsets[:-1]])
    return positions


def _halves(valid: np.ndarray, test: np.ndarray, lengths: np.ndarray, rounds: int) -> Split:
    """Positions before `valid` are training; each argument is the first position [U] of its phase."""
    _check_rounds(rounds)
    middle = (valid + 1) // 2
    cuts = [valid - (valid - middle) * (rounds - part) // rounds for part in range(rounds + 1)]
    return _counted(
        Span(np.zeros_like(middle), middle),
        tuple(Span(start, stop) for start, stop in pairwise(cuts)),
        Span(valid, test),
        Span(test, lengths),
    )


def _counted(pretrain: Span, rounds: tuple[Span, ...], valid: Span, test: Span) -> Split:
    """The split with the number of positions of each phase and of users who have none there."""
    phases = {"pretrain": pretrain} | {f"round_{i + 1}": span for i, span in enumerate(rounds)}
    phases |= {"valid": valid, "test": test}
    counts = {f"{name}_positions": len(span) for name, span in phases.items()}
    counts |= {f"users_without_{name}": int((span.stop <= span.start).sum()) for name, span in phases.items()}
    return Split(pretrain, rounds, valid, test, counts)


def _check_rounds(rounds: int) -> None:
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}")

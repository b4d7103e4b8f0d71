"""From the rows of a log to chronological sequences, and from those to the phases of Algorithm 1."""

import itertools

import numpy as np

from dccl_tf.data.schema import Catalogue, InteractionLog, Span, Split, Users


def build_log(
    users: np.ndarray,
    items: np.ndarray,
    timestamps: np.ndarray,
    labels: np.ndarray | None,
    user_table: Users,
    catalogue: Catalogue,
    counts: dict[str, int],
) -> InteractionLog:
    """Sorts interactions by user and time; ties keep the order in which they are given.

    Args:
      users: [N] 0..U-1.
      items: [N] 1..V.
      timestamps: [N] int64.
      labels: [N] in {0, 1}, or None.
      user_table: the U users.
      catalogue: the V items.
      counts: what loading read and left out.
    """
    order = np.lexsort((timestamps, users))  # lexsort is stable: ties stay in log order
    sizes = np.bincount(users, minlength=len(user_table))
    return InteractionLog(
        items=items[order].astype(np.int32),
        timestamps=timestamps[order].astype(np.int64),
        labels=None if labels is None else labels[order].astype(np.int8),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        users=user_table,
        catalogue=catalogue,
        counts=counts,
    )


def split_next(log: InteractionLog, rounds: int = 1) -> Split:
    """Section 4.2.1: each user's last item is the test, the one before it validates, and of the rest the first half
    pretrains and the second is divided equally among the rounds.

    A user of n items gives what there is: with n = 1 a test alone, with n = 2 a test and a validation item.
    """
    ends = log.lengths
    test = np.maximum(ends - 1, 0)
    return _phases(np.maximum(ends - 2, 0), test, ends, rounds)


def split_liked(log: InteractionLog, rounds: int = 1, test: float = 0.2, valid: float = 0.1) -> Split:
    """True negatives: each user's newest `test` share of interactions (rounded, at least one) is held out, the
    `valid` share before it validates, and the rest is halved as in `split_next`.

    Raises:
      ValueError: the log has no labels, or the shares leave nothing to train on.
    """
    if log.labels is None:
        raise ValueError("log: protocol 'liked' needs labels, and this log has none; name a label or rating column")
    if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise ValueError(f"test, valid: expected shares that leave something to train on, got {test} and {valid}")
    ends = log.lengths
    tested = np.minimum(np.maximum(np.round(ends * test).astype(np.int64), 1), ends)
    validated = np.minimum(np.round(ends * valid).astype(np.int64), ends - tested)
    return _phases(ends - tested - validated, ends - tested, ends, rounds)


def split_by_time(
    log: InteractionLog, rounds: int = 1, pretrain: float = 0.5, test: float = 0.2, valid: float = 0.1
) -> Split:
    """Appendix A.1: disjoint parts of the whole log by its timestamps, the same moments for every user.

    Args:
      log: all interactions.
      rounds: number of equal parts (by interactions) of what lies between pretraining and validation.
      pretrain, valid, test: shares of the interactions; what is left is for the rounds.
    """
    if min(pretrain, test) <= 0 or valid < 0 or pretrain + valid + test >= 1:
        raise ValueError(
            "pretrain, valid, test: expected shares that leave something for the rounds, "
            f"got {pretrain}, {valid} and {test}"
        )
    between = 1 - pretrain - valid - test
    shares = np.cumsum([pretrain, *[between / rounds] * rounds, valid])
    moments = np.sort(log.timestamps, kind="stable")[(shares * len(log.timestamps)).astype(np.int64)]
    owners = np.repeat(np.arange(len(log.users)), log.lengths)
    # The number of a user's interactions before each moment is where that phase ends for the user.
    bounds = [
        np.bincount(owners[log.timestamps < moment], minlength=len(log.users)).astype(np.int64) for moment in moments
    ]
    bounds = [np.zeros_like(log.lengths), *bounds, log.lengths]
    spans = [Span(start, stop) for start, stop in itertools.pairwise(bounds)]
    return Split(pretrain=spans[0], rounds=tuple(spans[1 : rounds + 1]), valid=spans[-2], test=spans[-1])


def _phases(train_end: np.ndarray, valid_end: np.ndarray, test_end: np.ndarray, rounds: int) -> Split:
    """Halves what lies before `train_end` and divides the second half among the rounds."""
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}")
    half = train_end // 2
    edges = [half + (train_end - half) * number // rounds for number in range(rounds + 1)]
    return Split(
        pretrain=Span(np.zeros_like(half), half),
        rounds=tuple(Span(start, stop) for start, stop in itertools.pairwise(edges)),
        valid=Span(train_end, valid_end),
        test=Span(valid_end, test_end),
    )

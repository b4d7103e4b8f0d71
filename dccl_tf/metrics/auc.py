"""Area under the ROC curve of each user, exact: by ranks, ties counting one half.

(A histogram, as keras.metrics.AUC keeps, can be far off: 0.56 for 0.81 was seen.)
"""

import numpy as np

from dccl_tf.metrics import checks


def user_auc(users: np.ndarray, labels: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """The inner fraction of Eq. 8 for each user: the chance that a liked item scores above one that is not.

    Args:
      users: int [N], 0..count-1.
      labels: [N] in {0, 1}.
      scores: [N].
      count: U, number of users.

    Returns:
      [U]; NaN for users without items of both classes, who have no AUC.

    Raises:
      ValueError: a score is NaN, a label is neither 0 nor 1, a user is not below `count`, or lengths differ.
    """
    scores = checks.numbers("scores", scores)
    if scores.ndim != 1:
        raise ValueError(f"scores: expected shape [N], got {scores.shape}")
    labels, users = checks.binary(labels, like=scores), np.asarray(users)
    checks.same_shape("users", users, like=scores)
    if not len(scores):
        return np.full(count, np.nan)
    if users.dtype.kind not in "iu" or users.min() < 0 or users.max() >= count:
        raise ValueError(f"users: expected whole numbers from 0 to {count - 1}, got {users.min()} to {users.max()}")
    order = np.lexsort((scores, users))
    users, labels, scores = users[order], labels[order], scores[order]
    sizes = np.bincount(users, minlength=count)
    first = np.cumsum(sizes) - sizes
    ranks = _tied_ranks(users, scores) - first[users]  # 1 is the lowest score of a user
    liked = np.bincount(users, weights=labels, minlength=count)
    others = sizes - liked
    wins = np.bincount(users, weights=ranks * labels, minlength=count) - liked * (liked + 1) / 2
    with np.errstate(invalid="ignore"):
        return np.where((liked > 0) & (others > 0), wins / (liked * others), np.nan)


def group_auc(auc: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Values [U] whose mean over the users that count is GAUC, their AUCs weighted by samples (Zhou et al., 2018).

    So GAUC has intervals and paired differences like every metric that is a mean over users: users are weighted around
    GAUC itself, as a ratio's first-order expansion has it, so that how much they were judged widens no interval.

    Args:
      auc: [U], NaN for users to leave out.
      samples: [U], at least 0; users without samples do not count.
    """
    auc, samples = np.asarray(auc, float), checks.numbers("samples", samples)
    checks.same_shape("samples", samples, like=auc)
    if (samples < 0).any():
        raise ValueError(f"samples: expected at least 0, got {samples.min()}")
    counts = ~np.isnan(auc) & (samples > 0)
    if not counts.any():
        return np.full(auc.shape, np.nan)
    gauc = np.average(auc[counts], weights=samples[counts])
    return np.where(counts, gauc + (auc - gauc) * samples / samples[counts].mean(), np.nan)


def _tied_ranks(users: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 of values sorted by user and score; equal neighbours share the mean of their places."""
    starts = np.flatnonzero(np.r_[True, (users[1:] != users[:-1]) | (scores[1:] != scores[:-1])])
    stops = np.r_[starts[1:], len(scores)]
    return np.repeat((starts + 1 + stops) / 2, stops - starts)

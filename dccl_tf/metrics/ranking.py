"""How high the one relevant item is ranked: hit rate and NDCG, with ties shared.

The relevant item is in column 0 of the scores. Where others have its score, its rank is taken to be each of the tied
places with equal chance, and the metric is the expected value: one value for one input, whatever the order of the
columns. A model that scores everything alike gets a hit rate of k / C.
"""

import numpy as np

from dccl_tf.metrics import checks


def hit_rate(scores: np.ndarray, k: int, where: np.ndarray | None = None) -> np.ndarray:
    """Expected share of hits among the first k (Eq. 8).

    Args:
      scores: [N, C], higher is better, the relevant item in column 0.
      k: cut-off, at least 1.
      where: bool [N, C], True for real candidates; column 0 must be real. Scores of the others may be anything.

    Returns:
      [N] in [0, 1].

    Raises:
      ValueError: a score is NaN, or a shape, a dtype or k is not as above.
    """
    k = checks.cut_off(k)
    above, tied = _places(scores, where)
    return np.clip(k - above, 0, tied) / tied


def ndcg(scores: np.ndarray, k: int, where: np.ndarray | None = None) -> np.ndarray:
    """Expected 1 / log2(rank + 1) where the rank is at most k, else 0.

    (Eq. 8 of the paper has log2 of the indicator, a misprint.) Arguments, result and errors as for `hit_rate`.
    """
    above, tied = _places(scores, where)
    k = min(checks.cut_off(k), np.shape(scores)[1])  # no rank is beyond C
    gains = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(1, k + 1) + 1))])  # of the first 0..k ranks
    return (gains[np.minimum(above + tied, k)] - gains[np.minimum(above, k)]) / tied


def graded_ndcg(gains: np.ndarray, ideal: np.ndarray, k: int) -> float:
    """NDCG of a ranked list of graded items, with the grade as gain (Järvelin and Kekäläinen, 2002).

    Args:
      gains: grades in the order of the ranking, 0 = not relevant. For the gain 2^grade - 1 (Burges et al., 2005)
        give that instead of the grade, here and in `ideal`.
      ideal: grades of all relevant items, in any order.
      k: cut-off, at least 1.

    Returns:
      In [0, 1] if `ideal` holds all of `gains`; NaN where nothing is relevant.

    Raises:
      ValueError: a grade is NaN or negative, or k is not as above.
    """
    k = checks.cut_off(k)
    gains, ideal = _grades("gains", gains), _grades("ideal", ideal)
    best = _discounted(np.sort(ideal)[::-1], k)
    return _discounted(gains, k) / best if best else float("nan")


def _grades(name: str, grades: np.ndarray) -> np.ndarray:
    grades = checks.numbers(name, np.asarray(grades, float))
    if grades.ndim != 1 or (grades < 0).any():
        raise ValueError(f"{name}: expected a list of grades of at least 0, got {grades.tolist()}")
    return grades


def _discounted(gains: np.ndarray, k: int) -> float:
    top = gains[:k]
    return float((top / np.log2(np.arange(len(top)) + 2)).sum())


def _places(scores: np.ndarray, where: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """How many candidates rank above the relevant one [N], and how many share its score, itself included [N]."""
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise ValueError(f"scores: expected shape [N, C] with C at least 1, got {scores.shape}")
    if where is None:
        where = np.ones(scores.shape, bool)
    else:
        where = np.asarray(where)
        checks.same_shape("where", where, scores)
        if where.dtype != bool:  # 0 and 1 would be read as places, not as yes and no
            raise ValueError(f"where: expected True and False, got {where.dtype}")
        if not where[:, 0].all():
            raise ValueError(
                f"where: expected the relevant item, column 0, to be real; row {where[:, 0].argmin()} is not"
            )
    checks.numbers("scores", np.where(where, scores, 0))
    relevant = scores[:, :1]
    above = ((scores > relevant) & where).sum(axis=1)
    tied = ((scores == relevant) & where).sum(axis=1)
    return above, tied

"""How well probabilities are meant: log loss and expected calibration error."""

import numpy as np

from dccl_tf.metrics import checks


def log_loss(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each sample in nats; exact for any logit, infinite ones included.

    Args:
      labels: [N] in {0, 1}.
      logits: [N].

    Returns:
      [N] float64, at least 0; infinity where a sure answer was wrong.

    Raises:
      ValueError: a logit is NaN, a label is neither 0 nor 1, or shapes differ.
    """
    logits = checks.numbers("logits", logits).astype(np.float64)
    liked = checks.binary(labels, like=logits)
    return np.logaddexp(0.0, np.where(liked, -logits, logits))  # -log sigmoid(z) = log(1 + exp(-z))


def expected_calibration_error(labels: np.ndarray, logits: np.ndarray, bins: int = 15) -> float:
    """Mean distance between predicted probability and share of likes, over equal bins of probability, weighted by
    their samples (Naeini et al., 2015).

    Args:
      labels: [N] in {0, 1}.
      logits: [N].
      bins: number of bins.

    Returns:
      In [0, 1]; NaN without samples.

    Raises:
      ValueError: as for `log_loss`, or `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
    logits = checks.numbers("logits", logits).astype(np.float64)
    liked = checks.binary(labels, like=logits)
    if logits.ndim != 1:
        raise ValueError(f"logits: expected shape [N], got {logits.shape}")
    if not len(logits):
        return float("nan")
    probabilities = np.exp(-np.logaddexp(0.0, -logits))  # sigmoid without overflow
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, weights=probabilities - liked, minlength=bins)
    return float(np.abs(gap).sum() / len(probabilities))

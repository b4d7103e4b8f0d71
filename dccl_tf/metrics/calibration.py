"""How well probabilities are meant: log loss and expected calibration error."""

import numpy as np


def log_loss(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each sample in nats; stable for any logit. labels and logits of one shape."""
    logits = np.asarray(logits, np.float64)
    return np.maximum(logits, 0.0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))


def expected_calibration_error(labels: np.ndarray, logits: np.ndarray, bins: int = 15) -> float:
    """Mean distance between predicted probability and share of likes, over equal bins of probability, weighted by
    their samples (Naeini et al., 2015). labels and logits [N]; NaN without samples."""
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
    if not len(logits):
        return float("nan")
    with np.errstate(over="ignore"):
        probabilities = 1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64)))
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, weights=probabilities - labels, minlength=bins)
    return float(np.abs(gap).sum() / len(probabilities))

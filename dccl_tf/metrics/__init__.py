"""Metrics in NumPy, exact and user by user; a metric's name carries its cut-off and protocol: `hr@10/neg100`."""

from dccl_tf.metrics.auc import group_auc, user_auc
from dccl_tf.metrics.calibration import expected_calibration_error, log_loss
from dccl_tf.metrics.checks import NotANumberError
from dccl_tf.metrics.groups import by_activity
from dccl_tf.metrics.mean import Estimate, estimate, paired_estimate
from dccl_tf.metrics.ranking import graded_ndcg, hit_rate, ndcg

__all__ = [
    "Estimate",
    "NotANumberError",
    "by_activity",
    "estimate",
    "expected_calibration_error",
    "graded_ndcg",
    "group_auc",
    "hit_rate",
    "log_loss",
    "ndcg",
    "paired_estimate",
    "user_auc",
]

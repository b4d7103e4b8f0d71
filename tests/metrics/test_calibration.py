"""Log loss and calibration error by hand, and what they refuse."""

import numpy as np
import pytest

from dccl_tf.metrics import expected_calibration_error, log_loss


def test_log_loss_by_hand():
    np.testing.assert_allclose(log_loss([1, 0], np.log([3.0, 3.0])), [np.log(4 / 3), np.log(4)])


def test_log_loss_of_extreme_logits():
    """-log sigmoid(z) is -z for very negative z, and exp(-z) for very positive z, down to the last bits."""
    np.testing.assert_allclose(log_loss([0, 1, 1], [800.0, -800.0, 40.0]), [800.0, 800.0, np.exp(-40.0)])
    np.testing.assert_array_equal(log_loss([1, 0, 1], [np.inf, -np.inf, -np.inf]), [0.0, 0.0, np.inf])


def test_calibration_error_by_hand():
    """Two samples of probability 3/4, one liked: off by 1/4; two of probability 1/2, one liked: not off."""
    error = expected_calibration_error(np.array([1, 0, 1, 0]), np.array([np.log(3), np.log(3), 0.0, 0.0]), bins=10)
    assert error == pytest.approx(0.125)


def test_sure_and_right_is_calibrated_sure_and_wrong_is_not():
    assert expected_calibration_error([1, 0], [np.inf, -800.0]) == 0.0
    assert expected_calibration_error([0, 1], [np.inf, -800.0]) == 1.0


def test_calibration_of_no_samples_is_nan():
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize("metric", [log_loss, expected_calibration_error])
@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([1.0], [np.nan], r"logits: .*NaN at \[0\]"),
        ([2.0], [1.0], "labels: expected 0 or 1, got 2"),
        ([1.0, 0.0], [[1.0], [0.0]], r"labels: expected shape \(2, 1\).*\(2,\)"),
    ],
)
def test_what_is_wrong_is_named(metric, labels, logits, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, logits)

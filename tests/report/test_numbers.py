"""How figures are written, and when a difference counts."""

import math
from types import SimpleNamespace

import pytest

from dccl_tf.metrics import Estimate
from dccl_tf.report import numbers

AUC, LOSS = "macro_auc/liked", "log_loss/liked"


def estimate(mean: float, low: float, high: float) -> Estimate:
    return Estimate(mean, low, high, 50, 0)


NOBODY = estimate(math.nan, math.nan, math.nan)


def test_shares_are_percent_and_losses_nats():
    assert numbers.cell(AUC, estimate(0.5, 0.25, 0.75)) == "50.00 [25.00, 75.00]"
    assert numbers.cell(LOSS, estimate(0.5, 0.25, 0.75)) == "0.5000 [0.2500, 0.7500]"


def test_difference_has_signs_but_zero_has_no_minus():
    # -0.00001 is -0.001 percent, which rounds to zero
    assert numbers.difference(AUC, estimate(-0.00001, -0.01, 0.02)) == "+0.00 [-1.00, +2.00]"


def test_no_user_is_said_in_words():
    assert numbers.cell(AUC, NOBODY) == "n/a"
    assert numbers.cell(AUC, None) == "n/a"
    assert numbers.difference(AUC, NOBODY) == ""


@pytest.mark.parametrize(
    ("metric", "interval", "expected"),
    [
        (AUC, (0.01, 0.03), "better"),
        (AUC, (-0.03, -0.01), "worse"),
        (LOSS, (0.01, 0.03), "worse"),  # more loss
        (LOSS, (-0.03, -0.01), "better"),
        (AUC, (-0.01, 0.03), "no clear difference"),
        (AUC, (0.0, 0.0), "no clear difference"),  # two models that are one
    ],
)
def test_verdict_needs_an_interval_without_zero(metric, interval, expected):
    assert numbers.verdict(metric, estimate(sum(interval) / 2, *interval)) == expected


def test_verdict_of_nobody_is_none():
    assert numbers.verdict(AUC, NOBODY) == numbers.verdict(AUC, None) == ""


def found(**means: float) -> SimpleNamespace:
    return SimpleNamespace(
        models={name: {AUC: estimate(m, m, m), LOSS: estimate(m, m, m)} for name, m in means.items()}
    )


def test_best_is_the_highest_share_and_the_lowest_loss():
    assert numbers.best(AUC, found(a=0.6, b=0.7)) == {"b"}
    assert numbers.best(LOSS, found(a=0.6, b=0.7)) == {"a"}


def test_best_are_all_that_tie():
    assert numbers.best(AUC, found(a=0.7, b=0.7, c=0.6)) == {"a", "b"}


def test_best_is_never_the_oracle_nor_unmeasured():
    assert numbers.best(AUC, found(a=0.6, oracle=0.9, b=math.nan)) == {"a"}
    assert numbers.best(AUC, found(b=math.nan)) == set()


def test_columns_are_those_of_any_model():
    # the oracle has no log loss here; the column stays for the others
    some = SimpleNamespace(models={"oracle": {AUC: NOBODY}, "DIN": {LOSS: NOBODY, AUC: NOBODY, "other/liked": NOBODY}})
    assert numbers.columns("liked", some) == [AUC, LOSS]

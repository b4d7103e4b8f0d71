"""What the jobs judge (a whole run is judged in tests/rounds, where one is trained)."""

import pytest

from dccl_tf import baselines
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.study import arms
from dccl_tf.study.cells import Cell
from dccl_tf.study.plans import NAMES


@pytest.fixture(scope="module")
def log():
    return synthetic_log(2, users=40, items=160, shortest=16, mean_length=20, longest=30)[0]


def test_a_baseline_is_trained_and_judged_by_its_name(log, tmp_path):
    found = arms.run_cell(Cell("made-up", "next", 0, "mf", (("epochs", 1),)), log, tmp_path, "log")
    assert found.facts["epochs"] == 1
    assert set(found.values) == {"MF"}
    assert "ndcg@10/full" in found.values["MF"]


def test_under_liked_there_are_totals_too_and_no_metric_twice(log, tmp_path):
    found = arms.run_cell(Cell("made-up", "liked", 0, "mf", (("epochs", 1),)), log, tmp_path, "log")
    assert set(found.values["MF"]) == {"macro_auc/liked", "group_auc/liked", "log_loss/liked"}
    assert set(found.totals["MF"]) == {"calibration_error/liked"}
    assert 0 < found.totals["MF"]["calibration_error/liked"] < 1


def test_the_names_are_those_of_the_baselines():
    assert set(NAMES) == set(baselines.MODELS)

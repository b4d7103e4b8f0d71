"""What the tables and ablations are made of."""

import dataclasses

import pytest

from dccl_tf.run_config import DcclConfig
from dccl_tf.study.arms import settings_of
from dccl_tf.study.cells import Cell
from dccl_tf.study.plans import TABLES, plan_of_table
from dccl_tf.study.settings import changed
from dccl_tf.study.sweeps import ABLATIONS, plan_of_sweep


@pytest.mark.parametrize("plan", [*TABLES.values(), *map(plan_of_sweep, ABLATIONS)], ids=lambda plan: plan.name)
def test_every_pair_is_of_rows_and_every_cell_has_settings(plan):
    labels = [row.label for row in plan.rows]
    assert len(set(labels)) == len(labels)
    assert {label for pair in plan.pairs for label in pair} <= set(labels)
    for cell in plan.cells("ml-1m", ["next", "liked"], [0]):
        assert settings_of(cell)["seed"] == 0


def test_table_4_without_a_change_is_the_cell_of_table_2():
    assert Cell("ml-1m", "next", 0, "dccl") in plan_of_table("4").cells("ml-1m", ["next"], [0])


def test_a_sweep_marks_the_default():
    labels = [row.label for row in plan_of_sweep("K").rows if "(default)" in row.label]
    assert labels == [f"{DcclConfig().metapatch_length} (default): {model}" for model in ("DCCL-m", "DCCL-m + devices")]


def test_a_default_of_one_protocol_alone_is_not_marked():
    assert not [row.label for row in plan_of_sweep("closing").rows if "(default)" in row.label]


def test_table_4_measures_each_run_by_its_own_baseline():
    plan = plan_of_table("4")
    assert len(plan.pairs) == 8
    assert all(plan.row(ours).changes == plan.row(none).changes for ours, none in plan.pairs)


def test_a_wrong_ablation_is_met_with_the_near_one():
    with pytest.raises(ValueError, match=r"ablation: expected 'all' or one of K, .*got 'betta'; did you mean 'beta'"):
        plan_of_sweep("betta")


def test_a_wrong_table_is_named():
    with pytest.raises(ValueError, match="table: expected one of 2, 3, 4, got '1'"):
        plan_of_table("1")


def test_changes_reach_into_what_a_configuration_holds():
    config = changed(DcclConfig(), [("fleet.epochs", 3), ("beta", 0.5)])
    assert (config.fleet.epochs, config.beta) == (3, 0.5)
    assert dataclasses.replace(config.fleet, epochs=DcclConfig().fleet.epochs) == DcclConfig().fleet


@pytest.mark.parametrize("name", ["gamma", "fleet.gamma", "beta.x"])
def test_a_setting_that_there_is_not_is_refused(name):
    with pytest.raises(ValueError, match="changes: expected a setting out of"):
        changed(DcclConfig(), [(name, 1)])


def test_a_quick_cell_is_another_cell():
    cell = Cell("ml-100k", "next", 0, "din")
    assert settings_of(cell) != settings_of(cell, quick=True)


def test_the_width_that_a_run_has_is_the_default():
    labels = {row.label.split(":")[0] for row in plan_of_sweep("width").rows}
    assert labels == {"32 (default)", "128"}

"""Tables and figures of the paper, and ablations, from cells that are trained once and found again."""

from dccl_tf.study.arms import run_cell, settings_of
from dccl_tf.study.figures import FIGURES, plan_of_figure
from dccl_tf.study.plans import TABLES, plan_of_table
from dccl_tf.study.run import Study
from dccl_tf.study.settings import largest
from dccl_tf.study.sweeps import ABLATIONS, plan_of_sweep

__all__ = [
    "ABLATIONS",
    "FIGURES",
    "TABLES",
    "Study",
    "largest",
    "plan_of_figure",
    "plan_of_sweep",
    "plan_of_table",
    "run_cell",
    "settings_of",
]

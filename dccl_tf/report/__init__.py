"""A run's findings as report.json, report.html and a table for the terminal."""

from dccl_tf.report.activity import ActivityGroup, activity_groups
from dccl_tf.report.page import jsonable, write_report
from dccl_tf.report.results import Case, ProtocolResults, Results, VectorMap
from dccl_tf.report.table import results_table

__all__ = [
    "ActivityGroup",
    "Case",
    "ProtocolResults",
    "Results",
    "VectorMap",
    "activity_groups",
    "jsonable",
    "results_table",
    "write_report",
]

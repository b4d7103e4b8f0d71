"""The flags by which a program goes past one process."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENGINE = flags.DEFINE_enum(
    "engine",
    "process",
    ["process", "spark"],
    "process: this one. spark: PySpark 4 (pip install 'dccl[spark]', Java 17), with the same result.",
)
_MASTER = flags.DEFINE_string(
    "spark_master", None, "spark: URL of a cluster, or local[N]; by default as spark-submit says, else all cores here."
)
_MEMORY = flags.DEFINE_string("spark_memory", "4g", "spark: of the driver; on one machine of all but the workers.")
PARTITIONS = flags.DEFINE_integer(
    "spark_partitions", None, "spark: parts of the work, a task each; by default what suits.", lower_bound=1
)


def session() -> AbstractContextManager["SparkSession"]:
    """The session that the flags ask for."""
    from dccl_tf.spark.session import session as spark_session

    return spark_session(_MASTER.value, _MEMORY.value, PARTITIONS.value)

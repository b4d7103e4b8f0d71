"""The Spark session, and its errors in one sentence."""

import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dccl_tf.python_path import python_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BATCH_ROWS = 65_536  # of Arrow batches between Spark and Python, at most
BATCH_BYTES = 32 << 20  # the same; long sequences come in smaller batches
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.binaryAsString": "true",  # older programs' text
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
    "spark.sql.execution.arrow.maxBytesPerBatch": str(BATCH_BYTES),
    "spark.driver.maxResultSize": "0",  # the driver asks for ids of users and items alone
    "spark.log.level": "FATAL",  # what goes wrong comes as an exception
}


@contextmanager
def session(master: str | None = None, memory: str = "4g", partitions: int | None = None) -> Iterator["SparkSession"]:
    """A session that ends with the `with` block, within which Spark's errors are ValueErrors of one sentence.

    Args:
      master: URL of a cluster, "local[N]" for N cores of this machine; by default what `spark-submit` or the
        environment says, else all cores of this machine. Workers of a cluster need this package installed.
      memory: of the driver; on one machine that is all of Spark but its Python workers.
      partitions: of a shuffle; by default Spark's own choice.

    Raises:
      ValueError: no PySpark or no Java; what goes wrong within.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ValueError("engine: 'spark' needs PySpark; install it with pip install 'dccl[spark]'") from error
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise ValueError(
            "engine: 'spark' needs Java 17 or later, and there is none on PATH or in JAVA_HOME; "
            "on Debian: apt-get install openjdk-17-jre-headless"
        )
    logging.getLogger("py4j").setLevel(logging.WARNING)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # It warns of pandas 3 in every process; what is used here is Arrow.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:PySpark does not yet fully support pandas:FutureWarning")
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    os.environ["PYTHONPATH"] = python_path()  # Python workers of this machine inherit it
    builder = SparkSession.builder.appName("dccl").config("spark.driver.memory", memory)
    for name, value in _SETTINGS.items():
        builder = builder.config(name, value)
    if partitions:
        builder = builder.config("spark.sql.shuffle.partitions", partitions)
    if master:
        builder = builder.master(master)
    if not master or master.startswith("local"):
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "true")
        if master:  # nobody else has to reach the driver
            builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    try:
        spark = builder.getOrCreate()
    except Exception as error:  # of Py4J or of the Java process, such as a master that cannot be reached
        raise ValueError(f"engine: Spark does not start ({one_line(error)})") from error
    try:
        yield spark
    except (PySparkException, Py4JError) as error:
        raise ValueError(one_line(error)) from error
    finally:
        spark.stop()


def one_line(error: Exception) -> str:
    """What went wrong. A task's exception arrives as text, its traceback before and the cluster's own trace behind."""
    text = str(error)
    raised = re.findall(r"^(?:: )?(?:\w+\.)*(\w*(?:Error|Exception)): (.+)$", text, flags=re.MULTILINE)
    if raised:
        name, message = raised[-1]
        return message if name in ("ValueError", "FileNotFoundError") else f"{name}: {message}"
    return " ".join(text.split("\n\tat ")[0].split())[:500]

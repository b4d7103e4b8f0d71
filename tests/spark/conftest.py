"""One session for all of Spark's tests; they are skipped where PySpark or Java is absent."""

import os
import shutil

import pytest

from dccl_tf.spark.session import session


@pytest.fixture(scope="session")
def spark():
    pytest.importorskip("pyspark", reason="PySpark is not installed here (the extra `spark`)")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("there is no Java here; on Debian: apt-get install openjdk-17-jre-headless")
    with session("local[2]", memory="1g", partitions=3) as opened:
        yield opened

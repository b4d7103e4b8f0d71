"""For the whole suite in one process: tflite-runtime works beside TensorFlow only if it is imported first."""

import contextlib

import pytest

with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server; skips where there is none."""
    pytest.importorskip("psycopg")
    from tests.postgresql import Cluster

    cluster = Cluster(fsync="off")
    yield cluster
    cluster.stop()

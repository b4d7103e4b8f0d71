import pytest
from starlette.testclient import TestClient

from dccl_tf.collector import Collector, Settings, application
from tests.collector.bundles import TINY_K, tiny_identity
from tests.vectors.conftest import url  # noqa: F401 (SQLite and PostgreSQL)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "collector")


@pytest.fixture
def collector(settings):
    collector = Collector.open(settings)
    collector.store.register_bundle(tiny_identity(), TINY_K)
    return collector


@pytest.fixture
def client(collector):
    """Of a served collector: its errors are answers, as over a network."""
    with TestClient(application(collector), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def operator(settings):
    """Headers of the operator."""
    return {"Authorization": f"Bearer {(settings.data_dir / 'operator_token').read_text().strip()}"}

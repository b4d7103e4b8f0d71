import pytest

from dccl_tf.vectors import VectorStore
from tests.vectors.uploads import BUNDLE, K


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'vectors.sqlite'}"


@pytest.fixture
def store(url):
    store = VectorStore.open(url)
    store.register_bundle(BUNDLE, K)
    yield store
    store.close()

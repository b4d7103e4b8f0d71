import secrets

import pytest

from dccl_tf.vectors import VectorStore
from tests.vectors.uploads import BUNDLE, K


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'vectors.sqlite'}"
    else:
        cluster, schema = request.getfixturevalue("postgresql"), f"test_{secrets.token_hex(8)}"
        yield cluster.url(schema)
        cluster.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.fixture
def store(url):
    store = VectorStore.open(url)
    store.register_bundle(BUNDLE, K)
    yield store
    store.close()

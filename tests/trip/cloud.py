"""The collector as a process that can be killed and started again, and what its operator asks of it."""

import httpx

from dccl_tf.vectors import VectorStore
from tests.collector.served import Served


class Cloud:
    """Serves from `folder`, at one address for as long as it lives."""

    def __init__(self, folder):
        self._folder, self.store_url = folder, f"sqlite:///{folder / 'store.sqlite'}"
        self._served = Served(folder).__enter__()
        self.url = f"http://127.0.0.1:{self._served.port}"
        token = (folder / "operator_token").read_text().strip()
        self.operator = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def kill(self):
        self._served.process.kill()
        self._served.__exit__()

    def start_again(self):
        self._served = Served(self._folder, f"--port={self._served.port}").__enter__()

    def close(self):
        self.operator.close()
        self._served.__exit__()

    def publish(self, bundle, percent):
        answer = self.operator.post(
            "/v1/operator/bundles",
            params={"percent": percent},
            content=bundle.path.read_bytes(),
            headers={"Content-Type": "application/zip"},
        )
        assert answer.status_code == 201, answer.text

    def widen(self, bundle, percent):
        answer = self.operator.patch(f"/v1/operator/bundles/{bundle.identity.hex()}", json={"percent": percent})
        assert answer.status_code == 200, answer.text

    def held(self, bundle):
        """The vectors in the store, read past the server: as they are on the disk."""
        store = VectorStore.open(self.store_url)
        try:
            return store.newest(bundle.identity)
        finally:
            store.close()

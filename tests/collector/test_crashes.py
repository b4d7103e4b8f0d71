"""What was acknowledged is kept, whoever is killed."""

import pytest

from dccl_tf.vectors import KeyVault, VectorStore
from tests.collector.bundles import TINY_K, tiny_identity
from tests.collector.devices import SmallDevice
from tests.collector.served import Served, Uploader, wait_for
from tests.postgresql import Cluster


def prepared(url, folder, count=8):
    """A store with a bundle and devices."""
    folder.mkdir()
    store = VectorStore.open(url, KeyVault.from_file(folder / "secret"))
    store.register_bundle(tiny_identity(), TINY_K)
    keys = store.register_devices(f"d{number}" for number in range(count))
    return store, [SmallDevice(name, key) for name, key in keys.items()]


def held(store):
    """The number of each device's upload in the store."""
    found = store.newest(tiny_identity())
    return dict(zip(found.device_ids, found.sequences.tolist(), strict=True))


def test_acknowledged_uploads_survive_a_kill_of_the_server(url, tmp_path):
    """Eight devices upload at the same time; the server is killed in the midst of it, and a new one takes more."""
    store, devices = prepared(url, tmp_path / "c")
    with Served(tmp_path / "c", f"--store={url}") as served:
        uploaders = [Uploader(served, device) for device in devices]
        for uploader in uploaders:
            uploader.start()
        wait_for(lambda: all(uploader.acknowledged >= 5 for uploader in uploaders))
        served.process.kill()
        for uploader in uploaders:
            uploader.join()
    found = held(store)
    for uploader in uploaders:  # the last one sent may have been stored without its receipt
        assert uploader.acknowledged <= found[uploader.device.device_id] <= uploader.acknowledged + 1
    with Served(tmp_path / "c", f"--store={url}") as served:
        connection = served.connect()
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()
    store.close()


def test_acknowledged_uploads_survive_a_kill_of_the_database(tmp_path):
    """PostgreSQL, told to commit lazily, is killed while eight devices upload. Until it is back they are told when to
    try again, then they go on, and nothing that was acknowledged before is missing."""
    pytest.importorskip("psycopg")
    cluster = Cluster(synchronous_commit="off", wal_writer_delay="10s")
    try:
        url = cluster.url()
        store, devices = prepared(url, tmp_path / "c")
        with Served(tmp_path / "c", f"--store={url}") as served:
            uploaders = [Uploader(served, device) for device in devices]
            for uploader in uploaders:
                uploader.start()
            wait_for(lambda: all(uploader.acknowledged >= 5 for uploader in uploaders))
            cluster.kill()
            wait_for(lambda: any((503, "5") in uploader.statuses for uploader in uploaders))
            before = {uploader.device.device_id: uploader.acknowledged for uploader in uploaders}
            cluster.start()
            found = held(store)
            assert all(found[name] >= acknowledged for name, acknowledged in before.items())
            wait_for(lambda: all(one.acknowledged > before[one.device.device_id] + 1 for one in uploaders))
            for uploader in uploaders:
                uploader.stop.set()
                uploader.join()
        assert held(store) == {uploader.device.device_id: uploader.acknowledged for uploader in uploaders}
        store.close()
    finally:
        cluster.stop()

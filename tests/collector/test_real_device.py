"""The device runtime against the collector, over a real connection: register, fetch, personalise, send, upgrade."""

import numpy as np
import pytest

from dccl_tf.collector import Collector, Settings
from device_runtime import Device, change_key, fetch_bundle, register
from tests.collector.bundles import TINY, tiny_identity, zipped
from tests.collector.served import Served, wait_for

pytest.importorskip("tenacity")


def fetched(address, device_id, path, holding=b""):
    """The next bundle; the server learns of another process's release within a second."""
    wait_for(lambda: fetch_bundle(address, path, device_id, holding))
    return path


def test_a_device_from_its_registration_to_its_upgrade(tmp_path):
    settings = Settings(data_dir=tmp_path / "c")
    collector = Collector.open(settings)
    collector.publish(TINY, percent=100)
    with Served(settings.data_dir) as served:
        address = f"http://127.0.0.1:{served.port}"
        device_id = register(tmp_path / "state", address)
        first = fetched(address, device_id, tmp_path / "first.zip")
        with Device.open(tmp_path / "state", first, runtime="auto") as device:
            items = np.random.default_rng(0).integers(101, 121, 60)
            device.log_many(items, items % 2)
            device.personalize()
            device.upload()
            assert [delivery.status for delivery in device.send(address)] == ["accepted"]
            vector = device.vector
            child = zipped(tmp_path / "child.zip", parent=tiny_identity())
            collector.publish(tmp_path / "child.zip", percent=100)
            device.upgrade(fetched(address, device_id, tmp_path / "second.zip", device.bundle.identity))
            assert device.bundle.identity == child
        change_key(tmp_path / "state", address)
        with Device.open(tmp_path / "state") as device:
            device.log_many(items, items % 2)
            device.personalize()
            device.upload()
            assert [delivery.status for delivery in device.send(address)] == ["accepted"]
        found = collector.store.newest(tiny_identity())
        assert found.device_ids == collector.store.newest(child).device_ids == [device_id]
        np.testing.assert_array_equal(found.vectors, [vector])
    collector.close()

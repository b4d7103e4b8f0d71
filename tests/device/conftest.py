"""The tiny bundle, opened once, and devices on it. Nothing here imports TensorFlow."""

from pathlib import Path

import numpy as np
import pytest

from device_runtime import Bundle, Device, load_runtime

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def bundle_path():
    return HERE / "tiny_bundle"


@pytest.fixture(scope="session")
def bundle(bundle_path):
    return Bundle.open(bundle_path)


@pytest.fixture
def runtime(bundle):
    return load_runtime(bundle.model_bytes)


@pytest.fixture
def device(tmp_path, bundle):
    with Device.open(tmp_path / "device", bundle, key=b"k" * 32, profile={"age": "old"}) as device:
        yield device


@pytest.fixture
def trained(device):
    items = np.random.default_rng(0).integers(101, 121, 60)
    device.log_many(items, items % 2)
    device.personalize()
    return device

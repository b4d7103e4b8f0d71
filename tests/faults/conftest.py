"""The tiny bundle of the device's tests, and the one that follows it."""

from pathlib import Path

import pytest

from tests.device.bundles import successor


@pytest.fixture(scope="session")
def bundle_path():
    return Path(__file__).parents[1] / "device" / "tiny_bundle"


@pytest.fixture(scope="session")
def next_path(bundle_path, tmp_path_factory):
    return successor(bundle_path, tmp_path_factory.mktemp("next") / "bundle")

"""One small model and its bundle for all tests of the export."""

import pytest

from export import Sizes, export_bundle
from protos import dccl_pb2
from tests.models import small

SIZES = Sizes(candidates=7, train_batch=4)


def training(**changes) -> dccl_pb2.Training:
    settings = {"optimizer": "adam", "learning_rate": 0.05, "epochs": 3, "pull": 1.0, "heldout_fraction": 0.2}
    return dccl_pb2.Training(**settings | changes)


def exported(destination, cloud, **changes):
    settings = {"catalogue": small.catalogue(), "users": small.users(), "protocol": "next", "training": training(),
                "sizes": SIZES}  # fmt: skip
    return export_bundle(cloud, destination, **settings | changes)


@pytest.fixture(scope="session")
def cloud():
    return small.cloud(dropout=0.5)


@pytest.fixture(scope="session")
def bundle(cloud, tmp_path_factory):
    return exported(tmp_path_factory.mktemp("export") / "bundle", cloud)

"""A DIN of a shop's size with random weights, for benchmarks of the device: times and sizes do not depend on them.

python benchmarks/device_model.py FOLDER        writes its bundle (needs TensorFlow)
"""

import sys
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue, ProfileField, Users
from export import export_bundle
from protos import dccl_pb2

ITEMS, CATEGORIES, HISTORY, LENGTH = 68_000, 100, 50, 32  # V, G, T, K


def catalogue() -> Catalogue:
    """V items, each of one category."""
    categories = np.zeros((ITEMS + 2, 1), np.int32)
    categories[1:-1, 0] = 1 + np.arange(ITEMS) % CATEGORIES
    return Catalogue(np.arange(ITEMS) + 1000, categories, tuple(f"category {number}" for number in range(CATEGORIES)))


def users() -> Users:
    fields = (ProfileField("age", ("young", "old")), ProfileField("gender", ("f", "m")))
    return Users(np.arange(1), np.zeros((1, len(fields)), np.int32), fields)


def cloud() -> CloudModel:
    """Item width 32 and category width 16, layers of 64, 32 and 32 units, bottlenecks of 16: the defaults."""
    keras.utils.set_random_seed(0)
    return CloudModel.for_data(catalogue(), users(), length=LENGTH, history_length=HISTORY, history_labels=True)


def training() -> dccl_pb2.Training:
    return dccl_pb2.Training(optimizer="adam", learning_rate=0.05, epochs=5, pull=10.0, heldout_fraction=0.2)


if __name__ == "__main__":
    export_bundle(
        cloud(), Path(sys.argv[1]), catalogue=catalogue(), users=users(), protocol="liked", training=training()
    )

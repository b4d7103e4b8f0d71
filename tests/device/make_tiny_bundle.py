"""Makes the files that the device tests run on. Needs TensorFlow; the tests do not.

    python -m tests.device.make_tiny_bundle

`tiny_bundle/` is what the exporter makes of a very small model with random weights: K=4, T=5, C=8, B=4, V=20, one
profile field, history labels. `flex.tflite` has one operator that only the Flex delegate runs.
"""

import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue, ProfileField, Users
from export import Sizes, export_bundle
from protos import dccl_pb2

ITEMS = 20
DESTINATION = Path(__file__).with_name("tiny_bundle")


def write(destination: Path) -> None:
    """Exports the model into a folder, in place of what is there."""
    catalogue = Catalogue(np.arange(101, 101 + ITEMS), np.zeros((ITEMS + 2, 1), np.int32), ())
    users = Users(np.arange(1), np.zeros((1, 1), np.int32), (ProfileField("age", ("young", "old")),))
    keras.utils.set_random_seed(1)
    cloud = CloudModel.for_data(
        catalogue, users, length=4, bottlenecks=(3, 3), history_length=5, history_labels=True,
        item_width=4, profile_width=4, hidden=(8, 8),
    )  # fmt: skip
    for tensor in cloud.metapatch.trainable_variables:
        tensor.assign(2.0 * tensor)  # random weights that a vector can make something of
    cloud.din.items.ids.assign(100.0 * cloud.din.items.ids)  # new rows are tiny
    training = dccl_pb2.Training(optimizer="adam", learning_rate=0.05, epochs=5, pull=0.01, heldout_fraction=0.2)
    with tempfile.TemporaryDirectory() as folder:
        export_bundle(
            cloud,
            Path(folder, "bundle"),
            catalogue=catalogue,
            users=users,
            protocol="liked",
            training=training,
            sizes=Sizes(candidates=8, train_batch=4),
        )
        shutil.rmtree(destination, ignore_errors=True)
        shutil.copytree(Path(folder, "bundle"), destination)


def flex_model() -> bytes:
    """A model whose only operator, the stock gradient of ReLU, is not a TFLite builtin."""
    floats = tf.TensorSpec([2], tf.float32)
    function = tf.function(lambda upstream, x: tf.raw_ops.ReluGrad(gradients=upstream, features=x))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(floats, floats)])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return converter.convert()


if __name__ == "__main__":
    DESTINATION.with_name("flex.tflite").write_bytes(flex_model())
    write(DESTINATION)

"""The stock recipe for training on a device, on the same DIN: what TensorFlow's guide "On-device training with
TensorFlow Lite" gives. All weights are trainable, gradients are TensorFlow's own, with Select TF operators.

    python benchmarks/device_stock.py FOLDER            converts; benchmarks/device_stock_run.py then runs it

In its favour: plain gradient descent, which has no state of its own, and an item table of which a step writes only the
rows that it met.
"""

import sys
from pathlib import Path

import keras
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from benchmarks import device_model
from dccl_tf.models.din import Din

ROWS = 32  # B, as the bundle's


class Trainable(tf.Module):
    """A DIN that trains, saves and restores all its weights."""

    def __init__(self) -> None:
        super().__init__()
        keras.utils.set_random_seed(0)
        catalogue, users = device_model.catalogue(), device_model.users()
        din = Din.for_data(
            catalogue, users, history_length=device_model.HISTORY, history_labels=True, activation=tf.nn.relu
        )
        self._din = lambda: din  # hidden from tf.Module, which would save it twice
        self.weights = [variable.value for variable in din.trainable_variables]  # held here, or conversion drops them
        self.constants = [variable.value for variable in din.non_trainable_variables]

    def _logits(self, history: tf.Tensor, history_labels: tf.Tensor, profile: tf.Tensor, candidates: tf.Tensor):  # noqa: ANN202
        rows = {"history": history, "history_labels": history_labels, "profile": profile, "candidates": candidates}
        return self._din()(rows)

    def train(self, labels: tf.Tensor, learning_rate: tf.Tensor, **rows: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, tf.reshape(self._logits(**rows), [-1]))
            loss = tf.reduce_mean(losses)
        for weight, gradient in zip(self.weights, tape.gradient(loss, self.weights), strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                weight.scatter_sub(tf.IndexedSlices(learning_rate * gradient.values, gradient.indices))
            else:
                weight.assign_sub(learning_rate * gradient)
        return {"loss": tf.reshape(loss, [1])}

    def infer(self, **rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": self._logits(**rows)}

    def save(self, path: tf.Tensor) -> dict[str, tf.Tensor]:
        names = [f"weight{number}" for number in range(len(self.weights))]
        tf.raw_ops.Save(filename=path[0], tensor_names=names, data=[weight.read_value() for weight in self.weights])
        return {"path": path}

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        def rows(users: int, candidates: int) -> dict[str, tf.TensorSpec]:
            shapes = {"history": [users, device_model.HISTORY], "history_labels": [users, device_model.HISTORY]}
            shapes |= {"profile": [users, 2], "candidates": [users, candidates]}
            return {name: tf.TensorSpec(shape, tf.int32, name=name) for name, shape in shapes.items()}

        step = {
            "labels": tf.TensorSpec([ROWS], tf.float32, name="labels"),
            "learning_rate": tf.TensorSpec([1], tf.float32, name="learning_rate"),
        }
        path = tf.TensorSpec([1], tf.string, name="path")
        return {
            "train": tf.function(self.train).get_concrete_function(**step, **rows(ROWS, 1)),
            "infer": tf.function(self.infer).get_concrete_function(**rows(1, 100)),
            "save": tf.function(self.save).get_concrete_function(path=path),
        }


def make(folder: Path) -> None:
    """Converts it as the guide does."""
    module = Trainable()
    tf.saved_model.save(module, str(folder / "saved"), signatures=module.signatures())
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter.experimental_enable_resource_variables = True
    (folder / "stock.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    make(Path(sys.argv[1]))

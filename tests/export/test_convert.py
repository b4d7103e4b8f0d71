"""What cannot be exported is refused before a file is written, in words (hostile rows X1, X2, X6, X8, X10)."""

import keras
import pytest
import tensorflow as tf

from export import ExportError
from export.convert import convert
from tests.export.conftest import exported
from tests.models import small


@pytest.mark.parametrize(
    ("activation", "node"),
    [
        (keras.activations.relu, "ReluGrad"),
        (keras.activations.elu, "EluGrad"),
        (keras.activations.leaky_relu, "LeakyRelu/LeakyReluGrad"),
    ],
)
def test_stock_gradient_above_a_patch_is_named_with_its_layers(tmp_path, activation, node):  # X1
    cloud = small.cloud(activation=activation)
    operator = node.split("/")[-1]
    wanted = (
        rf"^{operator} \(from layer_1/{node}, layer_2/{node}\) is not a TFLite builtin: use an activation of [^;]*$"
    )
    with pytest.raises(ExportError, match=wanted):
        exported(tmp_path / "bundle", cloud)
    assert list(tmp_path.iterdir()) == []


def test_gelu_above_a_patch_is_named(tmp_path):  # X1
    with pytest.raises(ExportError, match=r"Erfc? \(from layer_1/.*, layer_2/.*\) is not a TFLite builtin"):
        exported(tmp_path / "bundle", small.cloud(activation=keras.activations.gelu))


class Module(tf.Module):
    """A module with a vector and one signature `train`."""

    def __init__(self, body) -> None:
        super().__init__()
        self.vector = tf.Variable(tf.ones([4]))
        self.body = body

    def functions(self, **inputs):
        named = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in inputs.items()}
        return {"train": tf.function(lambda **tensors: self.body(self, **tensors)).get_concrete_function(**named)}


def slice_gradient(module, x):
    """A gradient through `p[None, :]` (X2)."""
    with tf.GradientTape() as tape:
        tape.watch(vector := module.vector.read_value())
        loss = tf.reduce_sum(x * vector[1:3])
    module.vector.assign_sub(tape.gradient(loss, vector))
    return {"loss": tf.reshape(loss, [1])}


def test_slice_of_the_vector_is_named():  # X2
    module = Module(slice_gradient)
    with pytest.raises(ExportError, match=r"StridedSliceGrad \(from .*\) is not a TFLite builtin: reshape instead"):
        convert(module, module.functions(x=tf.TensorSpec([2], tf.float32)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (tf.TensorSpec([None, 4], tf.float32), r"input x: expected a fixed shape, .*BroadcastGradientArgs.*"),  # X2
        (tf.TensorSpec([], tf.float32), r"input x: expected shape \[1\], got a scalar.*aarch64"),  # X6
        (tf.TensorSpec([1], tf.string), r"input x: expected ids \(int32\), got strings.*vocabulary"),  # X10
        (tf.TensorSpec([1], tf.int64), r"input x: expected int32 or float32, got int64"),
    ],
)
def test_inputs_that_break_runtimes_are_named(spec, message):
    module = Module(lambda module, x: {"x": tf.identity(x)})
    by_position = tf.function(lambda x: {"x": tf.identity(x)}).get_concrete_function(spec)
    for functions in (module.functions(x=spec), {"train": by_position}):
        with pytest.raises(ExportError, match=message):
            convert(module, functions)


@pytest.mark.parametrize("precision", ["int8", "float64", "bfloat16"])
def test_other_precisions_are_refused_with_the_reason(tmp_path, cloud, precision):  # X8
    with pytest.raises(ExportError, match=f"precision: .*{'2.14' if precision == 'int8' else precision}"):
        exported(tmp_path / "bundle", cloud, precision=precision)

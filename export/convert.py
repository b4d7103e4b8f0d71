"""From traced signatures to one .tflite file of builtin operators, or an error that says what stands in the way."""

import re
import tempfile
from collections.abc import Mapping

import tensorflow as tf

from dccl_tf.progress import quiet

PRECISIONS = ("float32", "float16")

_RELU = "use an activation of dccl_tf.exportable.ACTIVATIONS, such as 'relu', whose gradient is written in builtins"
_BROADCAST = "fix the batch size, so that the shapes are known when the gradient is traced, or add with tf.nn.bias_add"
_SLICE = "reshape instead of slicing or adding an axis (tf.reshape), and keep one basis for each tensor"
# What to use instead of the operators that people meet most.
ADVICE = {
    **dict.fromkeys(("ReluGrad", "Relu6Grad", "LeakyReluGrad", "EluGrad", "SeluGrad", "Erf", "Erfc"), _RELU),
    "BroadcastGradientArgs": _BROADCAST,
    "StridedSliceGrad": _SLICE,
}
_OTHERWISE = "write it in operators that TFLite has built in, or give it a tf.custom_gradient that is"


class ExportError(ValueError):
    """The model cannot be exported; nothing was written."""


def convert(
    module: tf.Module,
    functions: Mapping[str, tf.types.experimental.ConcreteFunction],
    precision: str = "float32",
) -> bytes:
    """Converts signatures with fixed shapes.

    Args:
      module: owns the variables.
      functions: signature name to its traced function, whose outputs are a dict.
      precision: of the constants, "float32" or "float16"; computation is in float32.

    Returns:
      The bytes of the .tflite file; every weight of the module that is not a variable is a constant in it.

    Raises:
      ExportError: an input, the precision or an operator is not what every promised runtime can take.
    """
    check_precision(precision)
    for name, function in functions.items():
        _check_inputs(name, function)
    with tempfile.TemporaryDirectory() as folder, quiet():
        tf.saved_model.save(module, folder, signatures=dict(functions))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        if precision == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        try:
            return converter.convert()
        except Exception as error:  # the converter raises several kinds
            raise ExportError(_explained(str(error))) from error


def check_precision(precision: str) -> None:
    """Raises ExportError, with the reason, for a precision that not every promised runtime can run."""
    if precision == "int8":
        raise ExportError(
            "precision: int8 (dynamic range) makes FULLY_CONNECTED version 12, which tflite-runtime 2.14 cannot load; "
            "expected 'float32' or 'float16'"
        )
    if precision not in PRECISIONS:
        raise ExportError(f"precision: expected 'float32' or 'float16', got {precision!r}")


def _check_inputs(signature: str, function: tf.types.experimental.ConcreteFunction) -> None:
    for spec in tf.nest.flatten(function.structured_input_signature):  # by position, then by name
        if not isinstance(spec, tf.TypeSpec):
            continue  # a Python value, which is part of the graph
        where = f"signature {signature}, input {spec.name}"
        if spec.dtype == tf.string:
            raise ExportError(
                f"{where}: expected ids (int32), got strings; map them with the bundle's vocabulary before the model"
            )
        if spec.dtype not in (tf.int32, tf.float32):
            raise ExportError(f"{where}: expected int32 or float32, got {spec.dtype.name}")
        if spec.shape.rank == 0:
            raise ExportError(
                f"{where}: expected shape [1], got a scalar; ai-edge-litert's aarch64 wheels crash on scalar inputs"
            )
        if not spec.shape.is_fully_defined():
            raise ExportError(
                f"{where}: expected a fixed shape, got {spec.shape}; an unknown size leaves BroadcastGradientArgs and "
                "StridedSliceGrad in the gradient and keeps XNNPACK away; fix it, callers pad"
            )


def _explained(message: str) -> str:
    """The converter's pages as one sentence for each operator: its name, where it stands, what to use instead."""
    places: dict[str, list[str]] = {}
    for operator, node in re.findall(r"error: loc\(callsite\(fused\[\"(\w+):\", \"([^\"@]+)", message):
        places.setdefault(operator, []).append(node.removeprefix("gradient_tape/"))
    for operator in re.findall(r"'tf\.(\w+)' op is neither", message):
        places.setdefault(operator, [])
    if not places:
        return f"the converter failed: {' '.join(message.split())[:500]}"
    return "; ".join(
        f"{operator}{' (from ' + ', '.join(sorted(set(nodes))) + ')' if nodes else ''} is not a TFLite builtin: "
        f"{ADVICE.get(operator, _OTHERWISE)}"
        for operator, nodes in places.items()
    )

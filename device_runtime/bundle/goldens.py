"""Replays a bundle's golden calls: does this machine's interpreter compute what the exporter's did?"""

import math
from typing import NamedTuple

import numpy as np

from device_runtime.bundle.bundle import Bundle
from device_runtime.errors import BundleError
from device_runtime.interpreter.runtime import Runtime
from protos import dccl_pb2

_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


class GoldenResult(NamedTuple):
    """One output of one call."""

    signature: str
    output: str
    difference: float  # largest absolute one; inf where a value is not finite
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance


def replay_goldens(bundle: Bundle, runtime: Runtime) -> list[GoldenResult]:
    """Replays all calls in order.

    Args:
      bundle: whose goldens to replay.
      runtime: a fresh one, made of `bundle.model`: the calls build on each other.

    Raises:
      BundleError: goldens.pb does not hold what it says, or holds no call.
      InputError: a call does not fit the model's signatures.
    """
    if not bundle.goldens.calls:
        raise BundleError("goldens.pb: expected at least one call, got none; export the bundle again")
    results = []
    for call in bundle.goldens.calls:
        outputs = runtime.call(call.signature, **{tensor.name: to_array(tensor) for tensor in call.inputs})
        for tensor in call.outputs:
            if tensor.name not in outputs:
                raise BundleError(
                    f"goldens.pb: {call.signature} has no output {tensor.name!r}; export the bundle again"
                )
            difference = _difference(outputs[tensor.name], to_array(tensor))
            results.append(GoldenResult(call.signature, tensor.name, difference, call.tolerance))
    return results


def worst_of_each(results: list[GoldenResult]) -> list[GoldenResult]:
    """For each signature, in the order of their names, the output that takes up most of its tolerance."""
    worst: dict[str, GoldenResult] = {}
    for result in results:
        so_far = worst.get(result.signature)
        if so_far is None or result.difference * so_far.tolerance > so_far.difference * result.tolerance:
            worst[result.signature] = result
    return [worst[name] for name in sorted(worst)]


def to_array(tensor: dccl_pb2.Tensor) -> np.ndarray:
    """The values of a golden tensor; raises BundleError if they are not what it says."""
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None or len(tensor.data) != math.prod(tensor.shape) * dtype.itemsize:
        raise BundleError(
            f"goldens.pb: {tensor.name}: expected {list(tensor.shape)} values of float32 or int32, "
            f"got {len(tensor.data)} bytes of {tensor.dtype!r}; export the bundle again"
        )
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)


def to_tensors(arrays: dict[str, np.ndarray]) -> list[dccl_pb2.Tensor]:
    """Arrays of float32 or int32 as golden tensors, by name."""
    return [
        dccl_pb2.Tensor(
            name=name,
            dtype=array.dtype.name,
            shape=array.shape,
            data=np.ascontiguousarray(array, _DTYPES[array.dtype.name]).tobytes(),
        )
        for name, array in sorted(arrays.items())
    ]


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape:
        return math.inf
    difference = np.abs(got.astype(np.float64) - expected).max(initial=0.0)
    return float(difference) if np.isfinite(difference) else math.inf

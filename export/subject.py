"""What a certificate is about: a file, the model that it was made from, and calls to try it with."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dccl_tf.cloud_model import CloudModel
from export.device_module import DeviceModule, Sizes
from export.goldens import Arrays, golden_calls

Call = tuple[str, Arrays]  # a signature and its inputs


@dataclass(frozen=True)
class Subject:
    """A converted file with its origin."""

    model: bytes
    cloud: CloudModel
    module: DeviceModule
    sizes: Sizes
    precision: str
    seed: int = 0
    learning_rate: float = 0.01  # with which devices will train

    @property
    def tolerance(self) -> float:
        """Of logits and vectors; float16 constants are exact to 3 digits."""
        return 1e-5 if self.precision == "float32" else 1e-2

    @property
    def size_bounds(self) -> tuple[int, int]:
        """Bytes of the file at least and at most, by the folded item table and the other weights."""
        din = self.cloud.din
        table = (din.config.items + 2) * din.items.width
        inside = {id(variable) for variable in din.items.variables}
        other = sum(int(np.prod(v.shape)) for v in self.cloud.trainable_variables if id(v) not in inside)
        width = 4 if self.precision == "float32" else 2
        # Small tensors may be folded into others, so only nine tenths of them are asked for. The basis, and what else a
        # gradient passes, stands there in two orders; 1 MB is for the graph.
        return int((table + 0.9 * other) * width), int((2 * table + 2.3 * other) * width) + 1_000_000

    @cached_property
    def reference(self) -> DeviceModule:
        """The module whose training the file must repeat: with the weights that the file has, rounded ones included."""
        if self.precision == "float32":
            return self.module
        rounded = self.cloud.copy()
        for variable in rounded.trainable_variables:
            variable.assign(variable.numpy().astype(self.precision).astype(np.float32))
        return DeviceModule(rounded, self.sizes, self.module.optimizer, self.precision)

    @cached_property
    def unrounded(self) -> DeviceModule:
        """The module that a float16 file comes from, with the weights that the cloud has trained."""
        return DeviceModule(self.cloud, self.sizes, self.module.optimizer)

    @cached_property
    def calls(self) -> list[Call]:
        """The golden calls."""
        return golden_calls(self.cloud.din.config, self.sizes, self.cloud.metapatch.length, self.seed)

    @property
    def vector(self) -> np.ndarray:
        """A vector [K] away from 0."""
        return self.call("rebase")[1]["vector"]

    def call(self, signature: str, **changes: Any) -> Call:
        """The first golden call of a signature, with some inputs changed."""
        inputs = next(inputs for name, inputs in self.calls if name == signature)
        return signature, inputs | {name: np.asarray(value, np.float32) for name, value in changes.items()}

    def state(self, vector: np.ndarray) -> Call:
        """A call of `set` with a fresh optimiser."""
        zeros = np.zeros_like(vector)
        inputs = {"vector": vector, "first_moment": zeros, "second_moment": zeros, "step": np.zeros(1, np.float32)}
        return "set", inputs

"""What a device could train instead of a metapatch: every parameter of its patches, or the model's own upper layers.

Each stands where the metapatch does, so the fleet trains it and the evaluators judge it as they do a metapatch:

    cloud = free_patches(cloud)        # theta [P]: all parameters of the patches
    cloud = fine_tuned(cloud, "last")  # theta [P]: changes of the last layer; "head": of all above the first junction
"""

from itertools import accumulate, pairwise
from math import prod

import keras
import numpy as np
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.metapatch import Patch, Patches
from dccl_tf.models.din import Din, one_a_row

LAYERS = ("last", "head")


def cut(vector: tf.Tensor, shapes: list[tuple[int, ...]]) -> list[tf.Tensor]:
    """[..., P] to tensors [..., *shape], one after another."""
    bounds = accumulate((prod(shape) for shape in shapes), initial=0)
    before = [] if vector.shape.rank == 1 else [-1]
    return [
        tf.reshape(vector[..., begin:end], [*before, *shape])
        for (begin, end), shape in zip(pairwise(bounds), shapes, strict=True)
    ]


class FreePatches(keras.layers.Layer):
    """The patches of a `MetaPatch` without its basis: theta is their parameters."""

    def __init__(self, shapes: list[list[tuple[int, ...]] | None]) -> None:
        """shapes: of the tensors of each junction's `Patch`; None where a junction is off."""
        super().__init__()
        self.shapes = shapes
        self.length = sum(prod(shape) for junction in shapes for shape in junction or ())
        self.built = True

    def call(self, theta: tf.Tensor) -> Patches:
        """theta [P] or [B, P] to one `Patch` a junction."""
        tensors = iter(cut(theta, [shape for junction in self.shapes for shape in junction or ()]))
        return tuple(junction and Patch(*(next(tensors) for _ in junction)) for junction in self.shapes)


class LayerChanges(keras.layers.Layer):
    """Changes of the kernel and the bias of the topmost layers."""

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        """sizes: inputs and outputs of each layer that may change."""
        super().__init__()
        self.sizes = sizes
        self.length = sum(inputs * outputs + outputs for inputs, outputs in sizes)
        self.built = True

    def call(self, theta: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], ...]:
        """theta [P] or [B, P] to (kernel, bias) for each of them."""
        tensors = cut(theta, [shape for size in self.sizes for shape in (size, size[1:])])
        return tuple(zip(tensors[::2], tensors[1::2], strict=True))


class TunedDin(Din):
    """A DIN whose `patches` are `LayerChanges`."""

    def head(
        self,
        hidden: tf.Tensor,
        patches: tuple[tuple[tf.Tensor, tf.Tensor], ...] | None = None,
        gate: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """As `Din.head`."""
        layers = [*self.layers_above, self.logit]
        changes = [None] * (len(layers) - len(patches or ())) + list(patches or ())
        for layer, change in zip(layers, changes, strict=True):
            output = layer(hidden if layer is self.logit else self.dropout(hidden, training=training))
            if change:
                response = tf.matmul(hidden, change[0]) + change[1][..., None, :]
                output += response if gate is None else gate * response
            hidden = output if layer is self.logit else self.activation(output)
        return one_a_row(hidden)


def free_patches(cloud: CloudModel) -> CloudModel:
    """The same model with all parameters of its patches for a vector."""
    shapes = [basis and [tuple(tensor.shape[1:]) for tensor in basis] for basis in cloud.metapatch.bases]
    return CloudModel(cloud.din, FreePatches(shapes), cloud.encoder)


def as_free_patches(cloud: CloudModel, theta: np.ndarray) -> np.ndarray:
    """Metapatches [U, K] as the vectors [U, P] of `free_patches` that make the same patches."""
    patches = cloud.metapatch(tf.constant(theta))
    flat = [tf.reshape(tensor, [len(theta), -1]) for patch in patches for tensor in patch or ()]
    return tf.concat(flat, axis=1).numpy()


def fine_tuned(cloud: CloudModel, layers: str) -> CloudModel:
    """The same f with changes of its upper layers for a vector; the vector 0 is f.

    Args:
      cloud: with f.
      layers: "last", the logit's; or "head", all above the first junction.
    """
    if layers not in LAYERS:
        raise ValueError(f"layers: expected one of {', '.join(LAYERS)}, got {layers!r}")
    din = TunedDin(cloud.din.config)
    din.set_weights(cloud.din.get_weights())
    chosen = [*din.layers_above, din.logit] if layers == "head" else [din.logit]
    return CloudModel(din, LayerChanges([tuple(layer.kernel.shape) for layer in chosen]), cloud.encoder)

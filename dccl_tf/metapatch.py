"""The metapatch: K floats that generate every patch of a personal model (Section 3.2, Eq. 1 and 2).

A patch at a junction adds `gate * h(x)` to the output x of a layer (Eq. 1), with h a bottleneck after Houlsby et
al. (2019): down to R, tanh, up again. Its parameters are linear in the vector theta through a basis that all
devices share (Eq. 2). Each tensor has a basis of its own, so that the exported graph slices nothing.

    patch = MetaPatch(length=16, widths=(64, 32, 32), bottlenecks=(16, 16, 16))
    patches = patch(theta)                    # theta [K] or [B, K]
    x = apply_patch(x, patches[0], gate=1.0)  # x [N, F] or [B, N, F]
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dccl_tf.arguments import at_least_one


class Patch(NamedTuple):
    """Parameters of one bottleneck, with a leading batch axis where theta has one."""

    down: tf.Tensor  # [..., F, R]
    down_bias: tf.Tensor  # [..., R]
    up: tf.Tensor  # [..., R, F]
    up_bias: tf.Tensor  # [..., F]


Patches = tuple[Patch | None, ...]


def apply_patch(x: tf.Tensor, patch: Patch | None, gate: tf.Tensor | float | None = None) -> tf.Tensor:
    """Eq. 1: x + gate * patch(x).

    Args:
      x: [N, F], or [B, N, F] with one patch for each of the B rows.
      patch: as `MetaPatch` returns it; None leaves x as it is.
      gate: broadcasts against x; 0 gives x bit for bit, None means 1.
    """
    if patch is None:
        return x
    hidden = tf.tanh(tf.matmul(x, patch.down) + _over_rows(patch.down_bias))
    response = tf.matmul(hidden, patch.up) + _over_rows(patch.up_bias)
    return x + (response if gate is None else gate * response)


def _over_rows(bias: tf.Tensor) -> tf.Tensor:
    """[F] to [1, F], or [B, F] to [B, 1, F], with a reshape: its gradient is a TFLite builtin, a new axis's is not."""
    return tf.reshape(bias, [*([-1] * (bias.shape.rank - 1)), 1, bias.shape[-1]])


@keras.saving.register_keras_serializable(package="dccl")
class MetaPatch(keras.layers.Layer):
    """The shared basis Theta: from a vector theta to the parameters of the patch at each junction (Eq. 2)."""

    def __init__(
        self,
        length: int,
        widths: Sequence[int],
        bottlenecks: Sequence[int],
        junctions: Sequence[bool] | None = None,
        scale: float = 0.3,
        **kwargs: Any,
    ) -> None:
        """Args:
        length: K, floats of a metapatch.
        widths: F of each junction.
        bottlenecks: R of each junction.
        junctions: which junctions carry a patch (Table 4); all by default.
        scale: standard deviation of the patch's weights at a theta of unit variance, before the fan-in.
        """
        super().__init__(**kwargs)
        junctions = tuple(junctions) if junctions is not None else (True,) * len(widths)
        if not len(widths) == len(bottlenecks) == len(junctions):
            raise ValueError(
                f"bottlenecks, junctions: expected {len(widths)} values, one a junction of `hidden`'s layers, "
                f"got {len(bottlenecks)} and {len(junctions)}"
            )
        at_least_one(length=length)
        if any(on and bottleneck < 1 for bottleneck, on in zip(bottlenecks, junctions, strict=True)):
            raise ValueError(
                f"bottlenecks: expected R of at least 1 for each junction with a patch, got {tuple(bottlenecks)}"
            )
        self.length, self.scale = length, scale
        self.widths, self.bottlenecks, self.junctions = tuple(widths), tuple(bottlenecks), junctions
        self.bases: list[Patch | None] = []
        for index, (width, bottleneck, on) in enumerate(zip(self.widths, self.bottlenecks, junctions, strict=True)):
            self.bases.append(self._basis(index, width, bottleneck) if on else None)
        self.built = True

    def _basis(self, index: int, width: int, bottleneck: int) -> Patch:
        def tensor(name: str, shape: tuple[int, ...], fan_in: int) -> keras.Variable:
            deviation = self.scale / (self.length * fan_in) ** 0.5
            initializer = keras.initializers.RandomNormal(stddev=deviation)
            return self.add_weight(name=f"junction{index}_{name}", shape=(self.length, *shape), initializer=initializer)

        return Patch(
            down=tensor("down", (width, bottleneck), width),
            down_bias=tensor("down_bias", (bottleneck,), 1),
            up=tensor("up", (bottleneck, width), bottleneck),
            up_bias=tensor("up_bias", (width,), 1),
        )

    def call(self, theta: tf.Tensor) -> Patches:
        """theta [K] or [B, K] to one Patch a junction (None where the junction is off)."""
        return tuple(
            basis and Patch(*(self._combine(theta, tf.convert_to_tensor(tensor)) for tensor in basis))
            for basis in self.bases
        )

    def _combine(self, theta: tf.Tensor, basis: tf.Tensor) -> tf.Tensor:
        """[..., K] times [K, *shape] to [..., *shape]."""
        shape = basis.shape[1:].as_list()
        flat = tf.reshape(basis, [self.length, -1])
        product = tf.matmul(tf.reshape(theta, [-1, self.length]), flat)
        return tf.reshape(product, shape if theta.shape.rank == 1 else [-1, *shape])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "length": self.length,
            "widths": self.widths,
            "bottlenecks": self.bottlenecks,
            "junctions": self.junctions,
            "scale": self.scale,
        }

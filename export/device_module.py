"""The model as a phone gets it: one function a signature of docs/protocol.md, with fixed shapes.

The very Keras layers of the cloud are traced, with every weight put in as a constant; the item table is folded, so
categories cost a phone nothing. Only the metapatch and its optimiser state are variables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from dccl_tf import vector_optimizer
from dccl_tf.arguments import at_least_one
from dccl_tf.cloud_model import CloudModel
from dccl_tf.exportable import cross_entropy
from dccl_tf.vector_optimizer import VectorState


@dataclass(frozen=True)
class Sizes:
    """The shapes that are fixed at export, beside the model's own."""

    candidates: int = 100  # C of `infer`
    train_batch: int = 32  # B of every signature but `infer`

    def __post_init__(self) -> None:
        at_least_one(candidates=self.candidates)
        if self.train_batch < 2:
            raise ValueError(
                "train_batch: expected at least 2, since the builtin kernels give a wrong gradient of one row, "
                f"got {self.train_batch}"
            )


class DeviceModule(tf.Module):
    """A `CloudModel` with its signatures; `functions` is what gets converted."""

    def __init__(self, cloud: CloudModel, sizes: Sizes, optimizer: str = "adam", precision: str = "float32") -> None:
        """Args:
        cloud: f, Theta and U.
        sizes: C and B.
        optimizer: of the vector, a name of `vector_optimizer.OPTIMIZERS`.
        precision: of the item table, "float32" or "float16"; what is looked up is float32 either way.
        """
        super().__init__()
        # Not attributes that tf.Module tracks: the file must hold no Keras variable.
        self._parts = (lambda: cloud, sizes)
        self.optimizer, self._update = optimizer, vector_optimizer.optimizer(optimizer)
        # What a first moment holds of the gradient after one step from 0.
        self.first_moment_share = 1.0 - vector_optimizer.BETA_1 if optimizer == "adam" else 1.0
        length = cloud.metapatch.length
        self.vector = tf.Variable(tf.zeros([length]), name="vector")
        self.first_moment = tf.Variable(tf.zeros([length]), name="first_moment")
        self.second_moment = tf.Variable(tf.zeros([length]), name="second_moment")
        self.step = tf.Variable(tf.zeros([1]), name="step")
        self._constants = [(variable, tf.constant(variable.numpy())) for variable in cloud.variables]
        table = cloud.din.items.table().numpy()
        # GATHER does not take float16. The converter would widen the whole table at the first call of each signature,
        # which costs a phone six times the memory that float16 saves; so the bits are gathered, as integers.
        self._table = tf.constant(table if precision == "float32" else table.astype(np.float16).view(np.int16))

    @property
    def cloud(self) -> CloudModel:
        return self._parts[0]()

    @cached_property
    def functions(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The traced signatures by name."""
        return {name: self._trace(name, inputs) for name, inputs in self.inputs().items()}

    def inputs(self) -> dict[str, dict[str, tf.TensorSpec]]:
        """Each signature's inputs, in the order of docs/protocol.md."""
        config, sizes = self.cloud.din.config, self._parts[1]
        length, batch = self.cloud.metapatch.length, sizes.train_batch

        def users(rows: int, positions: int = 1) -> dict[str, tf.TensorSpec]:
            history = {"history": tf.TensorSpec([rows, config.history_length + positions - 1], tf.int32)}
            if config.history_labels:
                history["history_labels"] = history["history"]
            return history | {"profile": tf.TensorSpec([1, len(config.profile_sizes)], tf.int32)}

        vector, one = tf.TensorSpec([length], tf.float32), tf.TensorSpec([1], tf.float32)
        candidates = {"candidates": tf.TensorSpec([batch], tf.int32)}
        rows = users(batch) | candidates
        encoded = {"hidden": tf.TensorSpec([batch, config.junction_widths[0]], tf.float32)}
        samples = {"labels": tf.TensorSpec([batch], tf.float32), "weights": tf.TensorSpec([batch], tf.float32)}
        step = samples | {"learning_rate": one, "anchor": vector, "pull": one}
        profile = {"profile": users(1)["profile"]}
        return {
            "infer": users(1) | {"candidates": tf.TensorSpec([1, sizes.candidates], tf.int32), "gate": one},
            "evaluate": rows | {"gate": one},
            "train": rows | step,
            "encode": users(1, positions=batch) | candidates,
            "evaluate_encoded": encoded | {"gate": one},
            "train_encoded": encoded | step,
            "init": profile,
            "rebase": {"vector": vector} | profile,
            "get": {"unused": one},
            "set": {"vector": vector, "first_moment": vector, "second_moment": vector, "step": one},
            "reset": {"unused": one},
        }

    def _trace(self, name: str, inputs: dict[str, tf.TensorSpec]) -> tf.types.experimental.ConcreteFunction:
        body: Callable[..., dict[str, tf.Tensor]] = getattr(self, f"_{name}")

        def with_constants(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
            with keras.StatelessScope(state_mapping=self._constants):
                return body(**tensors)

        named = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in inputs.items()}
        return tf.function(with_constants).get_concrete_function(**named)

    # ---- Signatures ------------------------------------------------------------------------------

    def _infer(self, candidates: tf.Tensor, gate: tf.Tensor, **user: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden = self._below(tf.reshape(candidates, [1, 1, -1]), **user)
        return {"logits": tf.reshape(self._above(hidden, self.vector, gate), candidates.shape)}

    def _evaluate(self, candidates: tf.Tensor, gate: tf.Tensor, **user: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._evaluate_encoded(self._below(tf.reshape(candidates, [-1, 1, 1]), **user), gate)

    def _train(
        self,
        candidates: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        learning_rate: tf.Tensor,
        anchor: tf.Tensor,
        pull: tf.Tensor,
        **user: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        hidden = self._below(tf.reshape(candidates, [-1, 1, 1]), **user)
        return self._train_encoded(hidden, labels, weights, learning_rate, anchor, pull)

    def _encode(self, candidates: tf.Tensor, **user: tf.Tensor) -> dict[str, tf.Tensor]:
        # The packed form of the model: row b sees `history[b : b + T]`, and what neighbours share is computed once.
        return {"hidden": self._below(tf.reshape(candidates, [1, -1, 1]), **user)}

    def _evaluate_encoded(self, hidden: tf.Tensor, gate: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": self._above(hidden, self.vector, gate)}

    def _train_encoded(
        self,
        hidden: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        learning_rate: tf.Tensor,
        anchor: tf.Tensor,
        pull: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        size = tf.reshape(tf.reduce_sum(weights), [1])
        shares = weights / tf.where(size > 0.0, size, tf.ones_like(size))
        before = VectorState(*(variable.read_value() for variable in self._variables()))
        with tf.GradientTape() as tape:
            tape.watch(before.vector)
            losses = cross_entropy(self._above(hidden, before.vector, None), labels)
            loss = tf.reduce_sum(losses * shares)
        gradient = tape.gradient(loss, before.vector) + pull * (before.vector - anchor)
        after = self._update(before, gradient, learning_rate)
        self._assign(vector_optimizer.masked(size > 0.0, after, before))
        return {"loss": tf.reshape(loss, [1])}

    def _init(self, profile: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._rebase(tf.zeros_like(self.vector), profile)

    def _rebase(self, vector: tf.Tensor, profile: tf.Tensor) -> dict[str, tf.Tensor]:
        start = tf.reshape(self.cloud.encoder(tf.reshape(vector, [1, -1]), profile), [-1])
        self._assign(vector_optimizer.start(start))
        return {"vector": start}

    def _get(self, unused: tf.Tensor) -> dict[str, tf.Tensor]:
        # Java refuses a signature without inputs, and an input that nothing reads is dropped on conversion.
        nothing = 0.0 * unused
        return {name: variable + nothing for name, variable in zip(VectorState._fields, self._variables(), strict=True)}

    def _set(self, **state: tf.Tensor) -> dict[str, tf.Tensor]:
        self._assign(VectorState(**state))
        # Not the input itself: where one tensor is input and output, LiteRT.js writes its empty output over the input.
        return {"step": self.step.read_value()}

    def _reset(self, unused: tf.Tensor) -> dict[str, tf.Tensor]:
        self._assign(vector_optimizer.start(tf.zeros_like(self.vector)))
        return {"step": 0.0 * unused}

    # ---- Parts -----------------------------------------------------------------------------------

    def _below(
        self, candidates: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, history_labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Outputs of the layer below the first junction for N rows, [N, F]; no metapatch reaches it."""
        hidden = self.cloud.din.encode(
            self._items(history), self._items(candidates), profile, history > 0, history_labels
        )
        return tf.reshape(hidden, [-1, hidden.shape[-1]])

    def _items(self, ids: tf.Tensor) -> tf.Tensor:
        """The vectors of items, [..., D]."""
        rows = tf.gather(self._table, ids)
        return rows if rows.dtype == tf.float32 else tf.cast(tf.bitcast(rows, tf.float16), tf.float32)

    def _above(self, hidden: tf.Tensor, vector: tf.Tensor, gate: tf.Tensor | None) -> tf.Tensor:
        """Logits [N] of the personal model."""
        return self.cloud.din.head(hidden, self.cloud.metapatch(tf.convert_to_tensor(vector)), gate)

    def _variables(self) -> tuple[tf.Variable, ...]:
        return self.vector, self.first_moment, self.second_moment, self.step

    def _assign(self, state: VectorState) -> None:
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

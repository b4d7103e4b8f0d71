"""Makes the files that the device tests run on. Needs TensorFlow; the tests do not.

    python -m tests.device.make_tiny_bundle

`tiny_bundle/` holds a model of a few hundred weights that keeps docs/protocol.md to the letter: a mean over the
history in place of attention, one hidden layer, one junction. K=4, T=5, C=8, B=4, V=20, one profile field, history
labels. `flex.tflite` has one operator that only the Flex delegate runs.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from dccl_tf import vector_optimizer
from dccl_tf.exportable import cross_entropy, relu
from dccl_tf.metapatch import Patch, apply_patch
from dccl_tf.vector_optimizer import VectorState
from protos import dccl_pb2

K, T, C, B, V = 4, 5, 8, 4, 20
WIDTH, HIDDEN, BOTTLENECK = 4, 8, 3
AGES = ("young", "old")
DESTINATION = Path(__file__).with_name("tiny_bundle")


def ints(*shape: int) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.int32)


def floats(*shape: int) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


class TinyModel(tf.Module):
    """All weights are constants of the graph; only the vector and its optimiser state are variables."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)

        def weights(*shape: int, scale: float = 1.0) -> tf.Tensor:
            return tf.constant(rng.normal(0.0, scale, shape), tf.float32)

        items = rng.normal(0.0, 1.0, (V + 2, WIDTH))
        items[0] = 0.0  # padding
        self.items = tf.constant(items, tf.float32)
        self.ages = weights(len(AGES) + 1, WIDTH)
        self.hidden, self.hidden_bias = weights(4 * WIDTH, HIDDEN, scale=0.5), weights(HIDDEN, scale=0.1)
        self.logit = weights(HIDDEN, 1, scale=0.5)
        self.basis = Patch(
            weights(K, HIDDEN * BOTTLENECK, scale=0.3),
            weights(K, BOTTLENECK, scale=0.3),
            weights(K, BOTTLENECK * HIDDEN, scale=0.3),
            weights(K, HIDDEN, scale=0.3),
        )
        self.w1, self.w2, self.w3 = weights(K, K, scale=0.7), weights(K, K, scale=0.7), weights(len(AGES) + 1, K)
        self.vector, self.first_moment, self.second_moment = (tf.Variable(tf.zeros([K])) for _ in range(3))
        self.step = tf.Variable(tf.zeros([1]))

    def signatures(self) -> dict[str, Callable]:
        """Each signature's concrete function, by name."""
        rows = {"history": ints(B, T), "history_labels": ints(B, T), "profile": ints(1, 1), "candidates": ints(B)}
        state = {"vector": floats(K), "first_moment": floats(K), "second_moment": floats(K), "step": floats(1)}
        inputs = {
            "infer": {
                "history": ints(1, T),
                "history_labels": ints(1, T),
                "profile": ints(1, 1),
                "candidates": ints(1, C),
                "gate": floats(1),
            },
            "evaluate": rows | {"gate": floats(1)},
            "train": rows
            | {"labels": floats(B), "weights": floats(B)}
            | {"learning_rate": floats(1), "anchor": floats(K), "pull": floats(1)},
            "init": {"profile": ints(1, 1)},
            "rebase": {"vector": floats(K), "profile": ints(1, 1)},
            "get": {"unused": floats(1)},
            "set": state,
            "reset": {"unused": floats(1)},
        }
        return {
            name: tf.function(getattr(self, name + "_")).get_concrete_function(
                **{key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()}
            )
            for name, specs in inputs.items()
        }

    def infer_(self, history, history_labels, profile, candidates, gate):
        hidden = self.below(history, history_labels, profile, tf.reshape(candidates, [C]))
        return {"logits": tf.reshape(self.above(hidden, self.patch(self.vector), gate), [1, C])}

    def evaluate_(self, history, history_labels, profile, candidates, gate):
        hidden = self.below(history, history_labels, profile, candidates)
        return {"logits": self.above(hidden, self.patch(self.vector), gate)}

    def train_(self, history, history_labels, profile, candidates, labels, weights, learning_rate, anchor, pull):
        hidden = self.below(history, history_labels, profile, candidates)
        size = tf.reduce_sum(weights, keepdims=True)
        vector = self.vector.read_value()
        with tf.GradientTape() as tape:
            tape.watch(vector)
            losses = cross_entropy(self.above(hidden, self.patch(vector), tf.ones([1])), labels)
            loss = tf.reduce_sum(losses * weights, keepdims=True) / tf.maximum(size, 1e-9)
        gradient = tape.gradient(loss, vector) + pull * (vector - anchor)
        before = VectorState(vector, self.first_moment, self.second_moment, self.step)
        before = VectorState(*(tf.identity(value) for value in before))
        after = vector_optimizer.adam(before, gradient, learning_rate)
        self.assign(vector_optimizer.masked(size > 0.0, after, before))
        return {"loss": loss}

    def init_(self, profile):
        return {"vector": self.begin(tf.zeros([K]), profile)}

    def rebase_(self, vector, profile):
        return {"vector": self.begin(vector, profile)}

    def get_(self, unused):
        state = {name: getattr(self, name) + 0.0 * unused[:1] for name in VectorState._fields}
        return state

    def set_(self, vector, first_moment, second_moment, step):
        self.assign(VectorState(vector, first_moment, second_moment, step))
        return {"step": tf.identity(step)}

    def reset_(self, unused):
        zeros = tf.zeros([K])
        self.assign(VectorState(zeros, zeros, zeros, 0.0 * unused))
        return {"step": 0.0 * unused}

    def assign(self, state: VectorState) -> None:
        for name, value in state._asdict().items():
            getattr(self, name).assign(value)

    def below(self, history, history_labels, profile, candidates) -> tf.Tensor:
        """[B or 1, T] histories and [N] candidates to the hidden layer [N, HIDDEN]."""
        rows = candidates.shape[0]
        liked = tf.cast(2 * history_labels - 1, tf.float32) * tf.cast(history > 0, tf.float32)
        known = tf.gather(self.items, history) * tf.expand_dims(liked, -1)
        interest = tf.reduce_sum(known, axis=1) / T
        interest = tf.reshape(tf.tile(tf.reshape(interest, [-1, WIDTH]), [rows // history.shape[0], 1]), [rows, WIDTH])
        item = tf.gather(self.items, candidates)
        age = tf.tile(tf.gather(self.ages, tf.reshape(profile, [1])), [rows, 1])
        features = tf.concat([interest, item, interest * item, age], axis=-1)
        return relu(tf.nn.bias_add(tf.matmul(features, self.hidden), self.hidden_bias))

    def patch(self, vector) -> Patch:
        row = tf.reshape(vector, [1, K])
        down, down_bias, up, up_bias = (tf.matmul(row, basis) for basis in self.basis)
        return Patch(
            tf.reshape(down, [HIDDEN, BOTTLENECK]),
            tf.reshape(down_bias, [BOTTLENECK]),
            tf.reshape(up, [BOTTLENECK, HIDDEN]),
            tf.reshape(up_bias, [HIDDEN]),
        )

    def above(self, hidden, patch: Patch, gate) -> tf.Tensor:
        return tf.reshape(tf.matmul(apply_patch(hidden, patch, gate), self.logit), [-1])

    def begin(self, vector, profile) -> tf.Tensor:
        """U(vector, u) (Eq. 6), which becomes the state."""
        hidden = tf.tanh(tf.matmul(tf.reshape(vector, [1, K]), self.w2) + tf.gather(self.w3, tf.reshape(profile, [1])))
        start = tf.reshape(tf.matmul(hidden, self.w1), [K])
        self.assign(vector_optimizer.start(start))
        return start


def convert(model: TinyModel) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures=model.signatures())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return converter.convert()


def goldens(model: bytes) -> dccl_pb2.Goldens:
    """A short life of a device, replayed on TensorFlow's interpreter."""
    from device_runtime import load_runtime

    runtime = load_runtime(model, runtime="tensorflow")
    history = np.array([[0, 0, 3, 7, 11], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0], [9, 9, 21, 2, 1]], np.int32)
    liked = np.array([[0, 0, 1, 0, 1], [1, 1, 0, 0, 1], [0] * 5, [1, 0, 1, 1, 0]], np.int32)
    profile = np.array([[2]], np.int32)
    one = {"history": history[:1], "history_labels": liked[:1], "profile": profile}
    rows = {"history": history, "history_labels": liked, "profile": profile, "candidates": np.int32([4, 12, 21, 1])}
    start = runtime.call("init", profile=profile)["vector"]
    step = {
        "labels": np.float32([1, 0, 0, 1]),
        "weights": np.float32([1, 1, 1, 0]),
        "learning_rate": np.float32([0.05]),
        "anchor": start,
        "pull": np.float32([0.01]),
    }
    unused = {"unused": np.zeros(1, np.float32)}
    candidates = {"candidates": np.arange(1, C + 1, dtype=np.int32)[None]}
    calls = [
        ("init", {"profile": profile}),
        ("infer", one | candidates | {"gate": np.float32([1])}),
        ("infer", one | candidates | {"gate": np.float32([0])}),
        *[("train", rows | step)] * 3,
        ("get", unused),
        ("evaluate", rows | {"gate": np.float32([1])}),
        ("rebase", {"vector": start, "profile": profile}),
        ("reset", unused),
        ("get", unused),
    ]
    result = dccl_pb2.Goldens()
    for signature, inputs in calls:
        call = result.calls.add(signature=signature, tolerance=1e-5)
        outputs = runtime.call(signature, **inputs)
        for target, tensors in ((call.inputs, inputs), (call.outputs, outputs)):
            for name, value in tensors.items():
                target.add(name=name, dtype=str(value.dtype), shape=value.shape, data=value.tobytes())
    return result


def write(destination: Path, model: bytes) -> None:
    from device_runtime.operators import read_operators

    vocabulary = dccl_pb2.Vocabulary(int_ids=range(101, 101 + V))
    files = {
        "model.tflite": model,
        "vocabulary.pb": vocabulary.SerializeToString(),
        "goldens.pb": goldens(model).SerializeToString(deterministic=True),
        "certificate.json": json.dumps({"checks": []}).encode(),
    }
    digest = {name.split(".")[0] + "_sha256": hashlib.sha256(content).digest() for name, content in files.items()}
    manifest = dccl_pb2.Manifest(
        schema=1,
        protocol="liked",
        metapatch_length=K,
        history_length=T,
        candidates=C,
        train_batch=B,
        items=V,
        history_labels=True,
        profile=[dccl_pb2.ProfileField(name="age", values=AGES)],
        training=dccl_pb2.Training(
            optimizer="adam", learning_rate=0.05, epochs=5, pull=0.01, heldout_fraction=0.2, gate_margin=0.0
        ),
        precision="float32",
        operators=[dccl_pb2.Operator(name=use.name, version=use.version) for use in read_operators(model)],
        oldest_runtime="tflite-runtime 2.14.0",
        **digest,
    )
    destination.mkdir(exist_ok=True)
    for name, content in files.items():
        (destination / name).write_bytes(content)
    (destination / "manifest.pb").write_bytes(manifest.SerializeToString(deterministic=True))


def flex_model() -> bytes:
    """A model whose only operator, the stock gradient of ReLU, is not a TFLite builtin."""
    function = tf.function(lambda upstream, x: tf.raw_ops.ReluGrad(gradients=upstream, features=x))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(floats(2), floats(2))])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return converter.convert()


if __name__ == "__main__":
    DESTINATION.with_name("flex.tflite").write_bytes(flex_model())
    write(DESTINATION, convert(TinyModel(seed=1)))

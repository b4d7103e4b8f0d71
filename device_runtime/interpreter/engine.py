"""The model's signatures as functions of a vector: the interpreter's own variables are never relied upon.

Each call loads the vector that it is given (only if another one is loaded) and runs under one lock. So a ranking
during training, or two vectors on one interpreter, cannot mix.
"""

from typing import NamedTuple

import numpy as np

from device_runtime.errors import BundleError, InputError
from device_runtime.interpreter.runtime import Runtime
from protos import dccl_pb2

VECTOR_LIMIT = 1e6  # the tanh of a patch saturates long before
_LARGEST = float(np.finfo(np.float32).max)
_UNUSED = np.zeros(1, np.float32)


class VectorState(NamedTuple):
    """A metapatch and what its optimiser remembers: what `get` and `set` carry."""

    vector: np.ndarray  # [K] float32
    first_moment: np.ndarray  # [K]
    second_moment: np.ndarray  # [K]
    step: np.ndarray  # [1], steps done

    @classmethod
    def start(cls, vector: np.ndarray) -> "VectorState":
        """A vector with a fresh optimiser."""
        zeros = np.zeros_like(vector)
        return cls(vector, zeros, zeros.copy(), np.zeros(1, np.float32))

    @property
    def sound(self) -> bool:
        """False once training has diverged: a value is not finite, is the largest float32 (at which the builtin
        kernels of TFLite stop instead of giving infinity), or a vector's is beyond all use."""
        sizes = np.abs(np.concatenate(self))
        return bool(sizes[: len(self.vector)].max() < VECTOR_LIMIT and sizes.max() < _LARGEST)  # NaN is not less


class Window(NamedTuple):
    """What `encode` takes: row b has the history `history[b : b + T]`."""

    history: np.ndarray  # [T + B - 1] int32
    history_labels: np.ndarray  # [T + B - 1] int32
    candidates: np.ndarray  # [B] int32


class Batch(NamedTuple):
    """B encoded rows; rows that pad have weight 0."""

    hidden: np.ndarray  # [B, F] float32, of `encode`
    labels: np.ndarray  # [B] float32, in [0, 1]
    weights: np.ndarray  # [B] float32, at least 0


class Engine:
    """One model on one interpreter, for one profile at a time."""

    def __init__(self, runtime: Runtime, manifest: dccl_pb2.Manifest) -> None:
        """Raises BundleError if the model's signatures are not those that the manifest promises."""
        self.runtime, self.manifest = runtime, manifest
        self._loaded: VectorState | None = None
        self._check_signatures()

    def start(self, profile: np.ndarray) -> VectorState:
        """U(0, u) with a fresh optimiser: where a new device begins. profile is [P] int32."""
        return self._from("init", profile=profile[None])

    def rebase(self, vector: np.ndarray, profile: np.ndarray) -> VectorState:
        """U(vector, u) with a fresh optimiser: where a vector [K] of an earlier bundle goes on in this one."""
        return self._from("rebase", vector=vector, profile=profile[None])

    def logits(
        self,
        state: VectorState,
        history: np.ndarray,
        history_labels: np.ndarray,
        profile: np.ndarray,
        candidates: np.ndarray,
        gate: float,
    ) -> np.ndarray:
        """Scores any number N of candidates in chunks of C.

        Args:
          state: whose vector to use.
          history, history_labels: [T] int32.
          profile: [P] int32.
          candidates: [N] int32.
          gate: 0 is the cloud model, 1 the personal one.

        Returns:
          [N] float32.
        """
        self._check_ids("history", history)
        self._check_ids("candidates", candidates)
        width = self.manifest.candidates
        fixed = {"history": history[None], "profile": profile[None], "gate": np.array([gate], np.float32)}
        if self.manifest.history_labels:
            fixed["history_labels"] = history_labels[None]
        result = np.empty(len(candidates), np.float32)
        with self.runtime.exclusive():
            self._load(state)
            for begin in range(0, len(candidates), width):
                chunk = candidates[begin : begin + width]
                padded = np.zeros((1, width), np.int32)
                padded[0, : len(chunk)] = chunk
                logits = self.runtime.call("infer", candidates=padded, **fixed)["logits"]
                result[begin : begin + len(chunk)] = logits[0, : len(chunk)]
        return result

    def encode(self, window: Window, profile: np.ndarray) -> np.ndarray:
        """What lies below the first junction [B, F] float32: no vector changes it, so once a session is enough.

        Raises:
          InputError: an id is outside 0..V+1.
        """
        self._check_ids("history", window.history)
        self._check_ids("candidates", window.candidates)
        rows = {"history": window.history[None], "candidates": window.candidates, "profile": profile[None]}
        if self.manifest.history_labels:
            rows["history_labels"] = window.history_labels[None]
        return self.runtime.call("encode", **rows)["hidden"]

    def evaluate(self, state: VectorState, hidden: np.ndarray, gate: float) -> np.ndarray:
        """Logits [B] float32 of encoded rows [B, F], those that pad included."""
        with self.runtime.exclusive():
            self._load(state)
            inputs = {"hidden": hidden, "gate": np.array([gate], np.float32)}
            return self.runtime.run("evaluate_encoded", inputs)["logits"]

    def train(
        self, state: VectorState, batch: Batch, learning_rate: float, anchor: np.ndarray, pull: float
    ) -> tuple[float, VectorState]:
        """One step of the optimiser on encoded rows.

        Returns:
          The batch's loss before the step, and the state after it; neither need be finite.
        """
        with self.runtime.exclusive():
            self._load(state)
            self._loaded = None  # until the new state is known
            inputs = batch._asdict() | {
                "learning_rate": np.array([learning_rate], np.float32),
                "anchor": anchor,
                "pull": np.array([pull], np.float32),
            }
            loss = self.runtime.run("train_encoded", inputs)["loss"]
            after = VectorState(**self.runtime.run("get", {"unused": _UNUSED}))
            self._loaded = after
        return float(loss[0]), after

    def _from(self, signature: str, **inputs: np.ndarray) -> VectorState:
        with self.runtime.exclusive():
            self._loaded = None
            return VectorState.start(self.runtime.call(signature, **inputs)["vector"])

    def _load(self, state: VectorState) -> None:
        if self._loaded is not state:
            self._loaded = None  # should `set` fail, nothing counts as loaded
            self.runtime.call("set", **state._asdict())
            self._loaded = state

    def _check_ids(self, name: str, ids: np.ndarray) -> None:
        """A gather outside the table is undefined in some runtimes."""
        if ids.size and not 0 <= ids.min() <= ids.max() <= self.manifest.items + 1:
            raise InputError(
                f"{name}: expected model ids in 0..{self.manifest.items + 1}, got {ids.min()}..{ids.max()}"
            )

    def _check_signatures(self) -> None:
        for name, inputs in expected_inputs(self.manifest).items():
            spec = self.runtime.signatures.get(name)
            got = {key: value.shape for key, value in spec.inputs.items()} if spec else None
            if got != inputs:
                raise BundleError(
                    f"model.tflite: expected the signature {name} with inputs {inputs} as in manifest.pb, "
                    f"got {got or 'no such signature'}; export the bundle again"
                )


def expected_inputs(manifest: dccl_pb2.Manifest) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shape of each input of each signature (docs/protocol.md) for the sizes of a manifest."""
    k, t, c, b = manifest.metapatch_length, manifest.history_length, manifest.candidates, manifest.train_batch
    profile, one, hidden = (1, len(manifest.profile)), (1,), {"hidden": (b, manifest.encoded_width)}

    def user(rows: int, length: int) -> dict[str, tuple[int, ...]]:
        history = {"history": (rows, length)} | ({"history_labels": (rows, length)} if manifest.history_labels else {})
        return history | {"profile": profile}

    rows = user(b, t) | {"candidates": (b,)}
    step = {"labels": (b,), "weights": (b,), "learning_rate": one, "anchor": (k,), "pull": one}
    return {
        "infer": user(1, t) | {"candidates": (1, c), "gate": one},
        "evaluate": rows | {"gate": one},
        "train": rows | step,
        "encode": user(1, t + b - 1) | {"candidates": (b,)},
        "evaluate_encoded": hidden | {"gate": one},
        "train_encoded": hidden | step,
        "init": {"profile": profile},
        "rebase": {"vector": (k,), "profile": profile},
        "get": {"unused": one},
        "set": {"vector": (k,), "first_moment": (k,), "second_moment": (k,), "step": one},
        "reset": {"unused": one},
    }

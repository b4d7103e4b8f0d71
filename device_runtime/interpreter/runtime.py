"""One adapter over the TFLite interpreters: signatures by name, checked inputs, safe under threads.

runtime = load_runtime(Path("model.tflite").read_bytes())
logits = runtime.call("infer", history=history, profile=profile, candidates=ids, gate=[1.0])["logits"]
"""

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.errors import InputError, ModelError
from device_runtime.interpreter.operators import require_builtins
from device_runtime.interpreter.providers import Provider, find_provider
from device_runtime.interpreter.tensors import SignatureSpec, TensorSpec, checked, unknown_name


def load_runtime(model: bytes | Path, runtime: str = "auto", num_threads: int = 1, delegate: bool = True) -> "Runtime":
    """Loads a model into an interpreter.

    Args:
      model: bytes of a .tflite file, or its path. Of a path the interpreter keeps only the pages in memory that it
        uses, so a large item table costs little; the file must then stay as it is.
      runtime: "auto", "tflite-runtime", "ai-edge-litert" or "tensorflow".
      num_threads: threads of the kernels; one is fastest for models of this size.
      delegate: False leaves XNNPACK out and runs the builtin kernels.

    Raises:
      RuntimeMissingError: no usable interpreter; said before anything is built.
      UnsupportedOperatorError: the model needs the Flex delegate or a custom operator.
      ModelError: the bytes are not a model that this interpreter can load.
    """
    if not isinstance(model, (bytes, Path)):
        raise InputError(f"model: expected the bytes or the Path of a .tflite file, got {type(model).__name__}")
    if not isinstance(num_threads, int) or num_threads < 1:
        raise InputError(f"num_threads: expected a whole number of at least 1, got {num_threads!r}")
    provider = find_provider(runtime)
    require_builtins(model)
    return Runtime(model, provider, num_threads, delegate)


class Runtime:
    """A loaded model. Made by `load_runtime`."""

    def __init__(self, model: bytes | Path, provider: Provider, num_threads: int, delegate: bool) -> None:
        self.name, self.version = provider.name, provider.version
        options = {} if delegate else {"experimental_op_resolver_type": provider.without_delegates}
        self._model = model  # the interpreter reads weights from these bytes for as long as it lives
        source = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
        try:
            self._interpreter = provider.interpreter(num_threads=num_threads, **source, **options)
            names = _list_once(self._interpreter)
            self._runners = {name: self._interpreter.get_signature_runner(name) for name in names}
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"model: {self.name} {self.version} cannot load it ({_one_line(error)}); "
                "export it again for this runtime"
            ) from error
        self.signatures = {name: _spec(runner) for name, runner in self._runners.items()}
        self._lock = threading.RLock()

    def exclusive(self) -> AbstractContextManager:
        """Keeps other threads out, so that `set` and the calls that rely on it stay together."""
        return self._lock

    def call(self, signature: str, /, **inputs: Any) -> dict[str, np.ndarray]:
        """Runs a signature; safe under threads.

        Args:
          signature: its name.
          **inputs: one array (or list) for each of its inputs, of the exact shape.

        Returns:
          Its outputs by name; copies, which later calls do not change.

        Raises:
          InputError: the signature or an input is not what the model has; the interpreter was not touched.
          ModelError: the interpreter failed.
        """
        if not isinstance(signature, str) or signature not in self.signatures:
            raise InputError(unknown_name("signature", signature, self.signatures))
        return self.run(signature, checked(signature, self.signatures[signature].inputs, inputs))

    def run(self, signature: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`call` without its checks, for the many steps of a training: the arrays must be all inputs, of the exact
        shape and type, contiguous and finite. Raises ModelError as `call` does."""
        with self._lock:
            try:
                outputs = self._runners[signature](**arrays)
            except (ValueError, RuntimeError) as error:
                raise ModelError(f"{signature}: {self.name} {self.version} failed ({_one_line(error)})") from error
            return {name: np.array(value) for name, value in outputs.items()}


def _list_once(interpreter: Any) -> list[str]:
    """Names of the signatures. tflite-runtime 2.14 loses some kilobytes for good each time it lists them, which every
    runner makes it do: here they all share one list (tests/device/state/test_durability.py)."""
    if not hasattr(interpreter, "_get_full_signature_list"):
        return list(interpreter.get_signature_list())
    signatures = interpreter._get_full_signature_list()
    interpreter._get_full_signature_list = lambda: signatures
    return list(signatures)


def _spec(runner: Any) -> SignatureSpec:
    def specs(details: dict[str, dict]) -> dict[str, TensorSpec]:
        return {
            name: TensorSpec(name, tuple(int(size) for size in detail["shape"]), np.dtype(detail["dtype"]))
            for name, detail in sorted(details.items())
        }

    return SignatureSpec(specs(runner.get_input_details()), specs(runner.get_output_details()))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

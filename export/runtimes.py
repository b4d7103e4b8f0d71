"""The runtimes on which a file is certified: all that are installed, with and without the XNNPACK delegate."""

import importlib.metadata
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from device_runtime import load_runtime
from device_runtime.bundle.goldens import to_array
from device_runtime.bundle.replay import answer
from device_runtime.interpreter.providers import is_installed
from export.goldens import Arrays, as_message
from protos import dccl_pb2

_SECONDS = 120


class RuntimeFailed(RuntimeError):
    """A runtime could not load the file or ran into an error with it."""


@dataclass(frozen=True)
class Candidate:
    """One runtime to try a file on."""

    runtime: str
    delegate: bool

    @property
    def name(self) -> str:
        return self.runtime if self.delegate else f"{self.runtime} without delegate"

    @property
    def version(self) -> str:
        """Of the installed wheel."""
        if self.runtime == "tensorflow":
            import tensorflow as tf

            return tf.__version__  # its distribution has several names
        return importlib.metadata.version(self.runtime)

    def run(self, model: bytes, calls: list[tuple[str, Arrays]]) -> list[Arrays]:
        """Runs calls in order on a fresh interpreter.

        Raises:
          RuntimeFailed: with what the runtime said.
        """
        message = as_message(calls)
        if self.runtime == "tensorflow":
            try:
                answers = answer(load_runtime(model, "tensorflow", delegate=self.delegate), message)
            except Exception as error:
                raise RuntimeFailed(f"{self.name}: {error}") from error
        else:
            answers = self._run_apart(model, message)
        return [{tensor.name: to_array(tensor) for tensor in call.outputs} for call in answers.calls]

    def _run_apart(self, model: bytes, calls: dccl_pb2.Goldens) -> dccl_pb2.Goldens:
        """In a process of its own, which a crash of the runtime cannot leave."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.tflite")
            path.write_bytes(model)
            command = [sys.executable, "-m", "device_runtime.bundle.replay", str(path), f"--runtime={self.runtime}"]
            try:
                done = subprocess.run(
                    command if self.delegate else [*command, "--no_delegate"],
                    input=calls.SerializeToString(),
                    capture_output=True,
                    timeout=_SECONDS,
                    cwd=Path(__file__).resolve().parents[1],
                )
            except subprocess.TimeoutExpired as error:
                raise RuntimeFailed(f"{self.name}: no answer within {_SECONDS} seconds") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise RuntimeFailed(f"{self.name}: exit status {done.returncode}: {said[-1][:300]}")
        return dccl_pb2.Goldens.FromString(done.stdout)


def installed() -> list[Candidate]:
    """Every installed runtime, TensorFlow's first."""
    names = [name for name in ("tensorflow", "tflite-runtime", "ai-edge-litert") if is_installed(name)]
    return [Candidate(name, delegate) for name in names for delegate in (True, False)]

"""Which TFLite interpreter is installed, and a fair warning where one is known not to work.

Order of "auto": tflite-runtime, ai-edge-litert, then TensorFlow's own. TensorFlow is imported only if it was
asked for or nothing else is there.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_runtime.errors import RuntimeMissingError

# Name of the wheel to the module that holds `Interpreter` and `OpResolverType`.
MODULES = {
    "tflite-runtime": "tflite_runtime.interpreter",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tensorflow": "tensorflow",
}


@dataclass(frozen=True)
class Provider:
    """An installed interpreter."""

    name: str
    version: str
    interpreter: Any  # the class
    without_delegates: Any  # value of OpResolverType that leaves XNNPACK out


def find_provider(runtime: str = "auto") -> Provider:
    """The interpreter to use.

    Args:
      runtime: "auto", or one of `MODULES` to force it.

    Raises:
      RuntimeMissingError: the name is unknown, nothing usable is installed, or what is installed does not fit
        the installed NumPy.
    """
    if runtime != "auto" and runtime not in MODULES:
        raise RuntimeMissingError(f"runtime: expected auto, {', '.join(MODULES)}, got {runtime!r}")
    problems = []
    for name in MODULES if runtime == "auto" else [runtime]:
        if not is_installed(name):
            problems.append(f"{name} is not installed")
            continue
        misfit = _numpy_misfit(name) or _tensorflow_misfit(name)
        if misfit:
            problems.append(misfit)
            continue
        try:
            return _load(name)
        except ImportError as error:
            problems.append(f"{name} does not import ({error})")
    known_misfits = [problem for problem in problems if problem.startswith("runtime: ")]
    if known_misfits:
        raise RuntimeMissingError(known_misfits[0])
    raise RuntimeMissingError(
        f"runtime: no TFLite interpreter for {runtime!r}: {'; '.join(problems)}; "
        "install one: pip install ai-edge-litert, or on Python 3.11: pip install tflite-runtime 'numpy<2'"
    )


def is_installed(name: str) -> bool:
    """Whether the wheel called `name`, one of `MODULES`, is there; nothing is imported."""
    return importlib.util.find_spec(MODULES[name].split(".")[0]) is not None


def _numpy_misfit(name: str) -> str | None:
    """tflite-runtime's last wheels were built against NumPy 1: beside NumPy 2 they fail inside C++."""
    if name != "tflite-runtime" or int(np.__version__.split(".")[0]) < 2:
        return None
    version = _version(name)
    if tuple(int(part) for part in version.split(".")[:2]) > (2, 14):
        return None
    return (
        f"runtime: tflite-runtime {version} needs NumPy 1, got NumPy {np.__version__}; "
        "either pip install 'numpy<2', or pip install ai-edge-litert and use that"
    )


def _tensorflow_misfit(name: str) -> str | None:
    """tflite-runtime fails inside C++ ("vector::reserve", "bad_alloc") if TensorFlow was imported before it."""
    if name != "tflite-runtime" or "tensorflow" not in sys.modules or MODULES[name] in sys.modules:
        return None
    return (
        "runtime: tflite-runtime does not work in a process that has imported TensorFlow before it; either use "
        "runtime='tensorflow', or run devices in a process of their own (python -m device_runtime.batch)"
    )


def _version(name: str) -> str:
    return importlib.metadata.version(name)


def _load(name: str) -> Provider:
    module = importlib.import_module(MODULES[name])
    # TensorFlow's interpreter announces at every construction that it will move to ai-edge-litert.
    warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated.*")
    if name == "tensorflow":
        return Provider(name, module.__version__, module.lite.Interpreter, _plain(module.lite.experimental))
    return Provider(name, _version(name), module.Interpreter, _plain(module))


def _plain(module: Any) -> Any:
    return module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

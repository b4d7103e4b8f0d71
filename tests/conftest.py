"""For the whole suite in one process: tflite-runtime works beside TensorFlow only if it is imported first."""

import contextlib

with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401

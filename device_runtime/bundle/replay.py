"""Runs a list of calls in a process of its own: what does this runtime compute?

    python -m device_runtime.bundle.replay MODEL [--runtime=NAME] [--no_delegate] < calls > answers

Calls and answers are `dccl.Goldens`; the answers' calls have outputs. The exporter certifies a file so, on every
runtime that is installed, beside a TensorFlow that could not share its process with them.
"""

import sys
from pathlib import Path

from device_runtime.bundle.goldens import to_array, to_tensors
from device_runtime.interpreter.runtime import Runtime, load_runtime
from protos import dccl_pb2


def answer(runtime: Runtime, calls: dccl_pb2.Goldens) -> dccl_pb2.Goldens:
    """The calls with the outputs that the runtime gives."""
    answers = dccl_pb2.Goldens()
    for call in calls.calls:
        outputs = runtime.call(call.signature, **{tensor.name: to_array(tensor) for tensor in call.inputs})
        answers.calls.add(signature=call.signature, outputs=to_tensors(outputs))
    return answers


def main(arguments: list[str]) -> None:
    options = dict(part.removeprefix("--").partition("=")[::2] for part in arguments[1:])
    runtime = load_runtime(Path(arguments[0]), options.get("runtime", "auto"), delegate="no_delegate" not in options)
    calls = dccl_pb2.Goldens.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer(runtime, calls).SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1:])

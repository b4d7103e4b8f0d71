"""Calls for another machine to answer, and how far its answers are from what was expected."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

from device_runtime.bundle.goldens import to_array, to_tensors
from protos import dccl_pb2

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests" / "device" / "tiny_bundle"
STEPS = 50


def goldens():
    return dccl_pb2.Goldens.FromString((BUNDLE / "goldens.pb").read_bytes())


def training():
    """`init`, 50 steps of `train` on the rows of its first golden call with labels that change, and `get`."""
    named = {call.signature: call for call in reversed(goldens().calls)}
    calls = dccl_pb2.Goldens(calls=[named["init"]])
    for step in range(STEPS):
        inputs = {tensor.name: to_array(tensor) for tensor in named["train"].inputs}
        inputs["labels"] = ((np.arange(len(inputs["labels"])) + step) % 3 == 0).astype(np.float32)
        calls.calls.add(signature="train", inputs=to_tensors(inputs))
    calls.calls.append(named["get"])
    return calls


def answers(command, calls):
    """What `device_runtime.bundle.replay`, started by a command, answers."""
    command = [*command, "-m", "device_runtime.bundle.replay", str(BUNDLE / "model.tflite")]
    done = subprocess.run(command, input=calls.SerializeToString(), capture_output=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return dccl_pb2.Goldens.FromString(done.stdout)


def life(command, folder):
    """What a device, started by a command, says of its life: 40 interactions, a personalisation, an upload."""
    job = {"state": str(folder), "device_id": "d1", "key": "00" * 32, "profile": {"age": "old"}}
    job["events"] = [[101 + number * 7 % 19, number % 3 % 2, [120]] for number in range(40)]
    command = [*command, "-m", "device_runtime.batch", str(BUNDLE)]
    given = json.dumps(job | {"personalize": {}})
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_this_machine(calls):
    return answers([sys.executable], calls)


def differences(expected, got):
    """Largest absolute difference of each output of each call, as (signature, output, difference); inf for NaN."""
    rows = []
    for one, other in zip(expected.calls, got.calls, strict=True):
        outputs = {tensor.name: to_array(tensor) for tensor in other.outputs}
        for tensor in one.outputs:
            difference = float(np.abs(outputs[tensor.name] - to_array(tensor)).max(initial=0.0))
            rows.append((one.signature, tensor.name, difference if math.isfinite(difference) else math.inf))
    return rows


def vector(replayed):
    """The vector that the last call, `get`, gave."""
    return next(to_array(tensor) for tensor in replayed.calls[-1].outputs if tensor.name == "vector")


def start(replayed):
    """The vector that the first call, `init`, gave."""
    return to_array(replayed.calls[0].outputs[0])

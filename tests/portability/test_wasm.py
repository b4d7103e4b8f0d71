"""The model in WebAssembly, as browsers run it: LiteRT.js under Node, set up by scripts/test_node.sh."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format

from protos import dccl_pb2
from tests.portability import replays

PROGRAM = Path(__file__).parent / "wasm" / "replay.mjs"
pytestmark = pytest.mark.skipif(
    not os.environ.get("DCCL_NODE"), reason="needs LiteRT.js: bash scripts/test_node.sh installs it"
)


def answers(calls, model=replays.BUNDLE / "model.tflite"):
    command = [os.environ["DCCL_NODE"], str(PROGRAM), str(model)]
    given = json_format.MessageToJson(calls, preserving_proto_field_name=True)
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json_format.Parse(done.stdout, dccl_pb2.Goldens())


def test_the_golden_calls_repeat():
    goldens = replays.goldens()
    rows = replays.differences(goldens, answers(goldens))
    assert [row for row in rows if row[2] > min(call.tolerance for call in goldens.calls)] == []
    assert {signature for signature, _, _ in rows} >= {"infer", "train", "get", "rebase", "reset"}


def test_fifty_steps_end_at_the_vector_of_x86_64():
    calls = replays.training()
    here, there = replays.of_this_machine(calls), answers(calls)
    assert np.abs(replays.vector(here) - replays.start(here)).max() > 0.1  # the steps did move it
    np.testing.assert_allclose(replays.vector(there), replays.vector(here), atol=1e-4, rtol=0)

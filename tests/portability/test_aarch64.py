"""The model on aarch64, as phones are: both runtimes under qemu, set up by scripts/test_aarch64.sh."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.portability import replays

FOLDER = os.environ.get("DCCL_AARCH64")
pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="needs an aarch64 Python: bash scripts/test_aarch64.sh makes one"),
    pytest.mark.parametrize("runtime", ["tflite-runtime", "ai-edge-litert"]),
]


def python(runtime):
    return [f"{FOLDER}/python", runtime]


def test_it_is_the_machine_that_was_meant(runtime):
    program = "import platform; from device_runtime.interpreter.providers import find_provider; p = find_provider()\n"
    program += "print(platform.machine(), p.name)"
    done = subprocess.run([*python(runtime), "-c", program], capture_output=True, text=True, cwd=replays.ROOT)
    assert done.stdout.split() == ["aarch64", runtime], done.stderr


def test_the_golden_calls_repeat(runtime):
    goldens = replays.goldens()
    rows = replays.differences(goldens, replays.answers(python(runtime), goldens))
    assert [row for row in rows if row[2] > min(call.tolerance for call in goldens.calls)] == []
    assert {signature for signature, _, _ in rows} >= {"infer", "train", "get", "rebase", "reset"}


def test_fifty_steps_end_at_the_vector_of_x86_64(runtime):
    calls = replays.training()
    here, there = replays.of_this_machine(calls), replays.answers(python(runtime), calls)
    assert np.abs(replays.vector(here) - replays.start(here)).max() > 0.1  # the steps did move it
    np.testing.assert_allclose(replays.vector(there), replays.vector(here), atol=1e-4, rtol=0)


def test_a_device_lives_there_as_here(runtime, tmp_path):
    here, there = (
        replays.life(command, tmp_path / name)
        for name, command in (("here", [sys.executable]), ("there", python(runtime)))
    )
    assert there["report"]["steps"] == here["report"]["steps"] > 0
    assert there["gate"] == here["gate"]
    np.testing.assert_allclose(there["vector"], here["vector"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(there["report"]["heldout_losses"], here["report"]["heldout_losses"], atol=1e-4, rtol=0)

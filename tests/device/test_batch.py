"""Many devices in a process of their own."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_runtime import Device, PersonalizeConfig
from protos import dccl_pb2, signing

TINY = Path(__file__).with_name("tiny_bundle")

KEY = bytes(range(32))


def job(folder, name: str, **more) -> dict:
    events = [[101 + i % 20, i % 2, [102 + i % 18]] for i in range(12)]
    return {"state": str(folder / name), "device_id": name, "key": KEY.hex(), "events": events} | more


def started(arguments: list, lines: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "device_runtime.batch", *map(str, arguments)]
    return subprocess.run(command, input=lines, capture_output=True, text=True)


def run(jobs: list[dict]) -> list[dict]:
    done = started([TINY], "\n".join(map(json.dumps, jobs)))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_job_does_what_a_device_does(tmp_path):
    past = {"items": [103, 104], "labels": [1, 0]}
    results = run([job(tmp_path, "a", past=past, personalize={"epochs": 2}), job(tmp_path, "b")])
    assert [result["device_id"] for result in results] == ["a", "b"]
    with Device.open(tmp_path / "own", TINY, device_id="own", key=KEY) as device:
        device.remember(past["items"], past["labels"])
        for item, label, skipped in job(tmp_path, "a")["events"]:
            device.log(item, label, skipped)
        device.personalize(PersonalizeConfig(epochs=2))
        np.testing.assert_array_equal(np.float32(results[0]["vector"]), device.vector)
    signed = dccl_pb2.SignedUpload.FromString(base64.b64decode(results[0]["upload"]))
    assert signing.verify(signed, KEY)
    assert "upload" not in results[1]


def test_a_second_run_goes_on_with_the_same_device(tmp_path):
    (first,) = run([job(tmp_path, "a", personalize={})])
    (again,) = run([{**job(tmp_path, "a"), "events": []}])
    assert again["vector"] == first["vector"]
    assert again["opening"] == "resumed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": None}, "job 2: fromhex"),
        ({"key": "xyz"}, "job 2: non-hexadecimal"),
        ({"device_id": ...}, "job 2: device_id is missing or unknown"),
        ({"personalise": {}}, "job 2: personalise is missing or unknown"),
        ({"personalize": {"epoch": 2}}, "job 2: .*unexpected keyword argument 'epoch'"),
        ({"past": {"labels": [1]}}, "job 2: items is missing or unknown"),
        ({"events": [[101, 1]]}, "job 2: not enough values"),
        ({"device_id": ""}, "device_id: expected 1 to 128"),
    ],
)
def test_a_job_that_is_none_is_told_in_one_line(tmp_path, change, message):
    wrong = {name: value for name, value in (job(tmp_path, "b") | change).items() if value is not ...}
    done = started([TINY], "\n".join(map(json.dumps, [job(tmp_path, "a"), wrong])))
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert re.search(f"^device_runtime.batch: {message}", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "lines", "message"),
    [
        ([], "", "expected BUNDLE"),
        (["absent"], "", "bundle: expected a folder or a zip, got nothing at absent"),
        ([TINY], "{", "job 1: Expecting"),
        ([TINY], "5", "job 1: 'int' object"),
    ],
)
def test_a_call_that_is_none_is_told_in_one_line(arguments, lines, message):
    done = started(arguments, lines)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"device_runtime.batch: {message}")
    assert len(done.stderr.splitlines()) == 1

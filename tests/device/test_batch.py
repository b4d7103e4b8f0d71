"""Many devices in a process of their own."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from device_runtime import Device, PersonalizeConfig
from protos import dccl_pb2, signing

TINY = Path(__file__).with_name("tiny_bundle")

KEY = bytes(range(32))


def job(folder, name: str, **more) -> dict:
    events = [[101 + i % 20, i % 2, [102 + i % 18]] for i in range(12)]
    return {"state": str(folder / name), "device_id": name, "key": KEY.hex(), "events": events} | more


def run(jobs: list[dict]) -> list[dict]:
    command = [sys.executable, "-m", "device_runtime.batch", str(TINY)]
    done = subprocess.run(command, input="\n".join(map(json.dumps, jobs)), capture_output=True, text=True, check=True)
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

"""`dccl-device`, as a person or a script would call it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runtime import Device
from protos import dccl_pb2
from tests.device.bundles import successor

ROOT = Path(__file__).parents[2]
BUNDLE = Path(__file__).with_name("tiny_bundle")


def run(*arguments, stdin=""):
    command = [sys.executable, "-m", "scripts.run_device", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True)


def succeeded(*arguments, stdin=""):
    result = run(*arguments, stdin=stdin)
    assert (
        result.returncode,
        result.stderr.replace("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", ""),
    ) == (
        0,
        "",
    )
    return result.stdout


def test_a_day_of_a_device(tmp_path):
    here = ["--bundle", BUNDLE, "--state", tmp_path / "device", "--json"]
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    events = [{"item": 101 + n % 20, "label": n % 2, "skipped": [], "timestamp": n} for n in range(30)]
    lines = "\n".join(map(json.dumps, events))
    logged = json.loads(succeeded("log", "--events=-", "--profile=age=old", "--key_file", key, *here, stdin=lines))
    assert logged["log"]["history"] == 30
    assert json.loads(succeeded("log", 103, "--skipped=104,105", *here))["log"]["samples"] == 33
    report = json.loads(succeeded("personalize", "--epochs=2", *here))
    assert (len(report["losses"]), report["heldout_samples"]) == (2, 8)
    ranking = json.loads(succeeded("rank", 101, 102, 103, "--top=2", *here))["ranking"]
    assert len(ranking) == 2
    assert ranking[0]["score"] >= ranking[1]["score"]
    assert len(json.loads(succeeded("rank", *here))["ranking"]) == 20
    succeeded("upload", "--output", tmp_path / "upload.pb", *here)
    signed = dccl_pb2.SignedUpload.FromString((tmp_path / "upload.pb").read_bytes())
    status = json.loads(succeeded("status", *here))
    assert dccl_pb2.VectorUpload.FromString(signed.upload).device_id == status["device_id"]
    assert status["profile"] == {"age": "old"}


def test_inspect_and_self_test():
    assert json.loads(succeeded("inspect", BUNDLE, "--json"))["metapatch_length"] == 4
    lines = succeeded("self-test", BUNDLE).splitlines()
    assert re.fullmatch(r"ok   encode +differs by \S+, at most \S+; \d+\.\d+ ms a call", lines[0])
    assert re.fullmatch(r"passed: \d+ golden outputs on \S+ \S+, .+; loaded in \S+ ms", lines[-1])


def test_a_bundle_comes_goes_and_the_device_tells_of_it(tmp_path):
    here = ["--state", tmp_path / "device", "--json"]
    next_path = successor(BUNDLE, tmp_path / "next")
    assert json.loads(succeeded("upgrade", BUNDLE, *here))["how"] == "first"
    succeeded("log", 101, *here)
    assert json.loads(succeeded("upgrade", next_path, *here))["how"] == "rebase"
    assert json.loads(succeeded("rollback", *here))["how"] == "rollback"
    refused = run("upgrade", next_path, *here)
    assert refused.returncode == 1
    assert "was refused before (it was rolled back)" in refused.stderr
    events = json.loads(succeeded("events", "--newest=100", *here))["events"]
    assert [event["kind"] for event in events] == ["opening", "upgrade", "rollback", "refusal"]
    assert json.loads(succeeded("reset", "--forget_user", *here))["log"]["history"] == 0
    assert "  reset        forget_user True\n" in succeeded("events", "--state", tmp_path / "device")


@pytest.mark.parametrize("way", ["the same", "the next"])
def test_upgrade_mends_a_damaged_copy_of_the_bundle_in_use(tmp_path, way):
    here = ["--state", tmp_path / "device", "--json"]
    succeeded("log", 101, "--bundle", BUNDLE, *here)
    (model,) = (tmp_path / "device" / "bundles").glob("*/model.tflite")
    model.write_bytes(b"damage")
    status = run("status", *here)
    assert (status.returncode, "dccl-device upgrade BUNDLE or --url=URL" in status.stderr) == (1, True)
    bundle, how = (BUNDLE, "resumed") if way == "the same" else (successor(BUNDLE, tmp_path / "next"), "rebase")
    assert json.loads(run("upgrade", bundle, *here).stdout)["how"] == how
    assert json.loads(succeeded("status", *here))["log"]["history"] == 1


def test_an_upload_that_does_not_arrive_is_told_and_waits(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    with Device.open(tmp_path / "device", BUNDLE, key=key.read_bytes()) as device:
        device.log_many(range(101, 121), [0, 1] * 10)
        device.personalize()
    here = ["--state", tmp_path / "device", "--json"]
    noise = ["--clip_norm=1", "--noise_multiplier=1"]
    result = run("upload", "--url=http://127.0.0.1:9", "--attempts=1", *noise, *here)
    assert result.returncode == 1
    (upload,) = json.loads(result.stdout)["uploads"]
    assert (upload["status"], upload["attempts"]) == ("queued", 1)
    assert json.loads(succeeded("status", *here))["uploads_waiting"] == 1


def test_after_an_upload_with_noise_the_exact_vector_leaves_on_demand_alone(tmp_path):
    with Device.open(tmp_path / "device", BUNDLE, key=b"k" * 32) as device:
        device.log_many(range(101, 121), [0, 1] * 10)
        device.personalize()
    here = ["--state", tmp_path / "device", "--output", tmp_path / "upload.pb"]
    succeeded("upload", "--clip_norm=1", "--noise_multiplier=1", *here)
    noisy = (tmp_path / "upload.pb").read_bytes()
    refused = run("upload", *here)
    assert (refused.returncode, "since the upload before had noise" in refused.stderr) == (1, True)
    assert (tmp_path / "upload.pb").read_bytes() == noisy
    succeeded("upload", "--exact", *here)
    signed = dccl_pb2.SignedUpload.FromString((tmp_path / "upload.pb").read_bytes())
    assert dccl_pb2.VectorUpload.FromString(signed.upload).HasField("evidence")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "absent"], "got nothing at absent"),
        (["rnak"], "command: expected one of inspect"),
        (["rank"], "state: expected --state=PATH, got none"),
        (["rank", "--state", "STATE"], "bundle: expected a folder or a zip for a new device, got none"),
        (["log", "abc", "--bundle", BUNDLE, "--state", "STATE"], "item: expected a whole number"),
        (["log", "101", "--label=2", "--bundle", BUNDLE, "--state", "STATE"], "label (row 0): expected 0 or 1, got 2"),
        (
            ["log", "101", "--events=f", "--bundle", BUNDLE, "--state", "STATE"],
            "expected one ITEM or --events=FILE, got b",
        ),
        (["rank", "--top=0", "--bundle", BUNDLE, "--state", "STATE"], "top: expected a whole number of at least 1"),
        (["log", "101", "--skipped=1,,2", "--bundle", BUNDLE, "--state", "STATE"], "skipped: expected item ids with"),
        (["log", "101", "--skipped=x", "--bundle", BUNDLE, "--state", "STATE"], "skipped: expected a whole number"),
        (["upload", "--bundle", BUNDLE, "--state", "STATE"], "expected either --url=URL or --output=FILE"),
        (["upload", "--clip_norm=1", "--output=o", "--state", "STATE"], "noise: expected both --clip_norm and"),
        (["upload", "--url=http://a.example", "--bundle", BUNDLE, "--state", "STATE"], "url: expected https"),
        (
            ["log", "--events=f", "--label=0", "--bundle", BUNDLE, "--state", "STATE"],
            "log: expected label and skipped in the lines of --events",
        ),
        (
            ["log", "--events=f", "--skipped=103", "--bundle", BUNDLE, "--state", "STATE"],
            "log: expected label and skipped in the lines of --events",
        ),
        (["rank", "101", "--forget_user", "--state", "STATE"], "forget_user: expected flags of rank, got one of reset"),
        (["rank", "--noforget_user", "--state", "STATE"], "forget_user: expected flags of rank, got one of reset"),
        (["status", "--max_seconds=1", "--state", "STATE"], "max_seconds: expected flags of status, got one of pers"),
        (
            ["inspect", BUNDLE, "--state", "STATE"],
            "state: expected flags of inspect, got one of register, change-key, log",
        ),
        (["inspect", BUNDLE, "--bundle", BUNDLE], "bundle: expected one folder or zip, got 2"),
        (["privacy"], "privacy: expected --clip_norm and --noise_multiplier, got none"),
        (["upgrade", "--bundle", BUNDLE, "--state", "STATE"], "upgrade: expected one BUNDLE or --url"),
    ],
)
def test_a_mistake_is_answered_in_one_line(tmp_path, arguments, message):
    result = run(*(tmp_path / "device" if argument == "STATE" else argument for argument in arguments))
    assert result.returncode == 1
    assert result.stdout == ""
    assert [message in line for line in result.stderr.splitlines() if line.startswith("dccl-device: ")] == [True]
    assert "Traceback" not in result.stderr


def test_a_line_that_is_no_event_is_named(tmp_path):
    here = ["--bundle", BUNDLE, "--state", tmp_path / "device"]
    result = run("log", "--events=-", *here, stdin='{"item": 101}\n{"itme": 102}\n')
    assert result.returncode == 1
    assert "line 2: expected an object with item" in result.stderr
    result = run("log", "--events=-", *here, stdin="[" * 100_000)
    assert (result.returncode, "line 1: not JSON" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"item": 101, "timestamp": 5}\n\n{"item": 102}\n', "line 3: expected a timestamp, as in line 1, got none"),
        ('\n{"item": 101}\n{"item": 102, "timestamp": 5}', "line 3: expected no timestamp, as in line 2, got one"),
        ('\n{"item": 101}\n{"item": "x"}', "line 3: item: expected a whole number"),
        ('{"item": 101, "label": 2}', "line 1: label: expected 0 or 1, got 2"),
        ('{"item": 101}\n{"item": 102, "skipped": 5}', "line 2: skipped: expected a list of item ids, got 5"),
        ('{"item": 101, "timestamp": 1.5}', "line 1: timestamp: expected whole seconds, got 1.5"),
    ],
)
def test_of_wrong_events_the_line_is_named_and_none_is_logged(tmp_path, lines, message):
    here = ["--bundle", BUNDLE, "--state", tmp_path / "device"]
    result = run("log", "--events=-", *here, stdin=lines)
    assert (result.returncode, f"dccl-device: events: - {message}" in result.stderr) == (1, True), result.stderr
    assert json.loads(succeeded("status", *here, "--json"))["log"]["history"] == 0


def test_items_that_the_bundle_does_not_know_are_told(tmp_path):
    here = ["--bundle", BUNDLE, "--state", tmp_path / "device"]
    logged = run("log", "--events=-", *here, stdin='{"item": 101}\n{"item": 999}\n')
    assert logged.stdout == "logged 2; the history now has 2 interactions\n"
    assert "dccl-device: the bundle does not know 1 of the 2 items" in logged.stderr
    assert "the bundle does not know 2 of the 3 items" in run("rank", 101, 998, 999, "--top=1", *here).stderr
    assert json.loads(succeeded("rank", 101, 998, 999, "--json", *here))["unknown"] == 2
    assert json.loads(succeeded("log", 998, "--json", *here))["unknown"] == 1
    assert json.loads(succeeded("rank", "--json", *here))["unknown"] == 0


def test_an_interrupted_personalisation_ends_in_one_line(tmp_path):
    with Device.open(tmp_path / "device", BUNDLE) as device:
        device.log_many(range(101, 121), [0, 1] * 10)
    command = [sys.executable, "-m", "scripts.run_device", "personalize", "--epochs=10000000"]
    command.append(f"--state={tmp_path / 'device'}")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "device" / "training.bin").exists():  # the first checkpoint, after 5 s
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "dccl-device: interrupted; call again to go on"
    assert "Traceback" not in errors
    with Device.open(tmp_path / "device") as device:
        assert device.state["steps"] > 0


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "scripts.run_device", "rank", "--bundle", BUNDLE, "--state", tmp_path / "device"]
    result = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (result.returncode, "Error" in result.stderr) == (0, False), result.stderr


# In a process of its own, since programs share names of flags.
FLAGS = """
from absl import flags
from scripts import device_commands, flags_device
taken = {flag.name for flags_of in flags_device._TAKEN.values() for flag in flags_of}
defined = {flag.name for flag in flags.FLAGS.flags_by_module_dict()[flags_device.__name__]}
print(sorted(defined ^ taken), sorted(set(flags_device._TAKEN) ^ set(device_commands.COMMANDS)))
"""


def test_every_flag_but_json_is_one_of_a_command_s():
    done = subprocess.run([sys.executable, "-c", FLAGS], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "['json'] []\n", done.stderr


def test_help_teaches_the_commands():
    result = run("--help")
    commands = re.search("expected one of (.*), got", run("rnak").stderr)[1]
    for command in commands.split(", "):
        assert f"dccl-device {command}" in result.stdout
    assert "--on_bundle_change" in result.stdout

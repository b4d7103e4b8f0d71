"""One user's device in a process that may be killed: lives a day, and says what it scored before it was told.

    python -m benchmarks.faults.week_device STATE BUNDLE PROFILE < actions > answers

An action is a line of JSON, and so is each answer:

    {"do": "past", "items": [...], "labels": [...]}        logs at once what was before the device
    {"do": "live", "items": [...], "labels": [...]}        an answer for each click: the logits that rankings would have
                                                           given its item, served and by the cloud model; then logs it
    {"do": "night"}, {"do": "upgrade", "to": BUNDLE}, {"do": "rollback"}
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device_runtime import Device


def main(state: str, bundle: str, profile: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what C++ prints is no answer
    source = None if (Path(state) / "state.bin").exists() else bundle
    with Device.open(state, source, device_id="d1", profile=None if source is None else json.loads(profile)) as device:
        _say(answers, "open", _facts(device))
        for line in sys.stdin:
            action = json.loads(line)
            for facts in _live(device, action) if action["do"] == "live" else [_one(device, action)]:
                _say(answers, action["do"], facts)


def _one(device: Device, action: dict[str, Any]) -> dict[str, Any]:
    done = action["do"]
    if done == "past":
        device.log_many(action["items"], action["labels"])
    elif done == "night":
        report = device.personalize()
        return _facts(device) | {"stopped": report.stopped, "resumed": report.steps_before > 0}
    elif done == "upgrade":
        device.upgrade(action["to"], retry=True)
    elif done == "rollback":
        device.rollback()
    return _facts(device)


def _live(device: Device, action: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item, label in zip(action["items"], action["labels"], strict=True):
        served, cloud = device.scores([item])[0], device.scores([item], gate=0.0)[0]
        device.log(item, label)
        yield {"label": label, "served": float(served), "cloud": float(cloud)}


def _facts(device: Device) -> dict[str, Any]:
    state = device.state
    names = ("bundle", "gate", "heldout_samples", "cloud_loss", "personal_loss", "steps")
    return {name: state[name] for name in names} | {"history": device.history_size}


def _say(answers: Any, done: str, facts: dict[str, Any]) -> None:
    answers.write(json.dumps({"done": done} | facts) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

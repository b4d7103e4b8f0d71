"""Writes what a Python device makes, for the Kotlin tests to read (android_demo/dccl-jvm), and a collector's data.

    python -m tests.android.exchange FOLDER

Needs no TensorFlow, but the extras litert and service. `dccl-serve` serves FOLDER/collector while the Kotlin tests run.
The Kotlin tests live the same life (`interactions`), compare, and write their own files into FOLDER/kotlin, which
tests/android/test_exchange.py reads.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from dccl_tf.collector import Collector, Settings
from device_runtime import Bundle, Device, load_runtime
from device_runtime.bundle.goldens import to_array, to_tensors
from device_runtime.cloud.transport import Answer
from device_runtime.learning.schedule import mix64
from protos import dccl_pb2
from tests.device.bundles import successor

BUNDLE = Path(__file__).parents[1] / "device" / "tiny_bundle"
DEVICE_ID = "d1"
KEY = bytes(range(32))
PROFILE = {"age": "old"}
ENROLMENT_TOKEN = "the-token-of-this-app"
STEPS = 100
TOLERANCE = 1e-5


def interactions(count: int = 60) -> list[tuple[int, int, list[int]]]:
    """Items, labels and skipped items, the same in Kotlin; 121 and 122 are unknown to the bundle."""
    hashes = [int(mix64(np.uint64(number))) for number in range(count)]
    items = [101 + value % 22 for value in hashes]
    return [
        (item, value >> 8 & 1, [101 + (item - 100) % 20, 101 + (item - 97) % 20] if number % 3 == 0 else [])
        for number, (item, value) in enumerate(zip(items, hashes, strict=True))
    ]


def live(device: Device) -> dict[str, np.ndarray]:
    """The life: logs, personalises, ranks. What Kotlin must arrive at."""
    items, labels, skipped = zip(*interactions(), strict=True)
    device.log_many(items, labels, skipped, timestamps=list(range(len(items))))
    report = device.personalize()
    facts = {
        "vector": device.vector,
        "report": [report.steps, report.samples, report.heldout_samples, report.best_epoch, report.gate],
        "losses": [report.cloud_loss, report.personal_loss, *report.losses, *report.heldout_losses],
        "scores": device.scores(range(101, 123)),
        "cloud_scores": device.scores(range(101, 123), gate=0.0),
    }
    return {name: np.array(value, np.float32) for name, value in facts.items()}


def long_training(signature: str) -> dccl_pb2.Goldens:
    """`init`, 100 equal steps and `get`, with the outputs of this runtime."""
    bundle = Bundle.open(BUNDLE)
    runtime = load_runtime(bundle.model)
    calls = {call.signature: call for call in bundle.goldens.calls}
    result = dccl_pb2.Goldens()
    for name in ["init", *[signature] * STEPS, "get"]:
        inputs = calls[name].inputs
        outputs = runtime.call(name, **{tensor.name: to_array(tensor) for tensor in inputs})
        result.calls.add(signature=name, inputs=inputs, outputs=to_tensors(outputs), tolerance=TOLERANCE)
    return result


class Busy:
    """A server that asks to be left alone for an hour."""

    def post(self, body: bytes) -> Answer:
        return Answer(503, b"", retry_after=3600.0)


def found_collector(folder: Path, newest: Path) -> None:
    """The data of a collector, for `dccl-serve`: it has the tiny bundle, and `newest` for everybody."""
    collector = Collector.open(Settings(data_dir=folder))
    for bundle in (BUNDLE, newest):
        collector.publish(bundle, percent=100)
    collector.close()
    (folder / "enrolment_token").write_text(ENROLMENT_TOKEN)


def write(folder: Path) -> None:
    """Writes everything; the folder is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "kotlin").mkdir(parents=True)
    for signature in ("train", "train_encoded"):
        (folder / f"{signature}.pb").write_bytes(long_training(signature).SerializeToString())
    with Device.open(folder / "device", BUNDLE, device_id=DEVICE_ID, key=KEY, profile=PROFILE) as device:
        facts = live(device)
        shutil.copy(folder / "device" / "state.bin", folder / "state.bin")
        (folder / "upload.bin").write_bytes(device.upload())
    shutil.copytree(folder / "device", folder / "begun")  # for Kotlin to go on with
    shutil.copytree(folder / "device", folder / "paused")
    with Device.open(folder / "paused") as device:
        device.send(Busy())
    with Device.open(folder / "device") as device:
        device.upgrade(successor(BUNDLE, folder / "successor"))
        facts["vector_after_upgrade"] = device.vector
    life = dccl_pb2.GoldenCall(signature="life", outputs=to_tensors(facts), tolerance=TOLERANCE)
    (folder / "life.pb").write_bytes(life.SerializeToString())
    with Device.open(folder / "odd", BUNDLE, profile={"age": 'né "1930"\\\t\U0001f600'}):
        shutil.copy(folder / "odd" / "state.bin", folder / "odd_state.bin")
    found_collector(folder / "collector", folder / "successor")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""A process in which phones live, one after another: no TensorFlow, and the cloud is reached by HTTP alone.

    python -m tests.trip.group join|send|renew < phones > facts

A phone is a line of JSON (see `phones`), and so is what became of it.
"""

import json
import sys
from pathlib import Path

from device_runtime import Bundle, Device, Retries, fetch_bundle, register

SECONDS = 60  # without an answer
PATIENT = Retries(attempts=100, first_wait=0.1, longest_wait=2.0)  # until a server has been started again


def join(phone):
    """Registers, fetches the bundle, logs the user's clicks, personalises, and queues the upload."""
    folder = Path(phone["state"])
    folder.mkdir(parents=True)
    register(folder / "device", phone["url"], phone["device_id"], timeout=SECONDS)
    bundle = fetch(phone, folder / "first.zip")
    again = fetch(phone, folder / "again.zip", holding=bundle.identity)
    with Device.open(folder / "device", bundle, profile=phone["profile"]) as device:
        device.remember(phone["past"])
        device.log_many(phone["clicks"])
        report = device.personalize()
        device.upload()
        return {
            "key": (folder / "device" / "device.key").read_bytes().hex(),
            "bundle": bundle.identity.hex(),
            "fetched_again": again is not None,
            "samples": report.samples,
            "vector": device.vector.tolist(),
        }


def send(phone):
    """Sends what waits."""
    with Device.open(Path(phone["state"]) / "device") as device:
        return {"deliveries": [one.to_dict() for one in device.send(phone["url"], PATIENT)]}


def renew(phone):
    """Asks for a newer bundle and, if there is one for this phone, goes over to it, personalises anew and sends."""
    folder = Path(phone["state"])
    with Device.open(folder / "device") as device:
        bundle = fetch(phone, folder / "next.zip", holding=device.bundle.identity)
        if bundle is None:
            return {"bundle": device.bundle.identity.hex(), "how": None}
        opening = device.upgrade(bundle, "rebase")
        rebased = device.vector.tolist()
        device.personalize()
        statuses = [one.status for one in device.send(phone["url"], PATIENT)]
        return {"bundle": device.bundle.identity.hex(), "how": opening.how, "vector": rebased, "statuses": statuses}


def fetch(phone, path, holding=b""):
    """The bundle that the cloud has for this phone; None if that is the one it holds."""
    found = fetch_bundle(phone["url"], path, phone["device_id"], holding, timeout=SECONDS)
    return found and Bundle.open(found)


def main():
    step = {"join": join, "send": send, "renew": renew}[sys.argv[1]]
    for line in sys.stdin:
        phone = json.loads(line)
        sys.stdout.write(json.dumps(step(phone)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

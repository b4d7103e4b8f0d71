"""Some users' devices run for real: the exported bundle on a TFLite runtime, one state folder each.

They run in a process without TensorFlow (`device_runtime.batch`), log the same samples as the fleet's simulated
devices, and so can be compared with them vector by vector. All vectors, real and simulated, reach the store as
signed messages through `Ingest`.
"""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dccl_tf.fleet import FleetVectors
from dccl_tf.fleet_uploads import upload_of
from dccl_tf.progress import progress
from dccl_tf.python_path import python_path
from dccl_tf.training_data import TrainingData
from dccl_tf.vectors import Ingest, VectorStore
from device_runtime import Bundle
from protos import dccl_pb2
from protos.signing import sign

PREFIX = "user-"


def device_id(user: int) -> str:
    return f"{PREFIX}{user}"


def users_of(device_ids: Iterable[str]) -> np.ndarray:
    """User numbers of device ids that `device_id` made."""
    return np.array([int(name.removeprefix(PREFIX)) for name in device_ids], np.int64)


def owners_of(device_ids: Iterable[str], users: int) -> np.ndarray:
    """The same for ids from anywhere: -1 for one that names none of the users 0 to `users` - 1."""
    own = re.compile(rf"{PREFIX}(0|[1-9]\d{{0,17}})", re.ASCII)  # as `device_id` writes it: user-007 is somebody else
    numbers = np.array([int(match[1]) if (match := own.fullmatch(name)) else -1 for name in device_ids], np.int64)
    return np.where(numbers < users, numbers, -1)


@dataclass(frozen=True)
class RealDevices:
    """The users whose devices run for real, and where those devices live."""

    users: np.ndarray  # [M]
    folder: Path
    runtime: str = "auto"

    @classmethod
    def choose(cls, active: np.ndarray, count: int, seed: int, folder: Path, runtime: str = "auto") -> "RealDevices":
        """`count` of the users `active`, by chance."""
        users = np.random.default_rng(seed).permutation(active)[:count]
        return cls(np.sort(users), Path(folder), runtime)

    def personalize(self, bundle: Bundle, data: Sequence[TrainingData], store: VectorStore) -> list[dict[str, Any]]:
        """Each device logs the samples of `data`, phase by phase, trains and makes its upload; see
        `device_runtime.batch`."""
        phases = [_events(phase, self.users) for phase in data]
        jobs = [
            self._job(data[0], user, store)
            | {
                "past": _past(data[0], user),
                "events": [event for events in phases for event in events[user]],
                "personalize": {},
            }
            for user in self.users
        ]
        return self._run(bundle, jobs, "devices for real")

    def upgrade(
        self, bundle: Bundle, data: TrainingData, store: VectorStore, on_bundle_change: str = "rebase"
    ) -> list[dict[str, Any]]:
        """Each device opens the new bundle, which rebases or resets its vector and sets its gate anew."""
        policy = {"on_bundle_change": on_bundle_change}
        return self._run(bundle, [self._job(data, user, store) | policy for user in self.users], "upgrades for real")

    def _job(self, data: TrainingData, user: int, store: VectorStore) -> dict[str, Any]:
        users, name = data.log.users, device_id(user)
        profile = {
            field.name: field.values[index - 1]
            for field, index in zip(users.fields, users.profile[user], strict=True)
            if index
        }
        key = store.register_device(name)
        return {"state": str(self.folder / name), "device_id": name, "key": key.hex(), "profile": profile}

    def _run(self, bundle: Bundle, jobs: list[dict[str, Any]], title: str) -> list[dict[str, Any]]:
        self.folder.mkdir(parents=True, exist_ok=True)  # the next round copies it, even if no device runs
        if not jobs:
            return []
        command = [sys.executable, "-m", "device_runtime.batch", str(bundle.path), self.runtime]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": python_path()}, **pipes) as process:
            results = []
            for job in progress(jobs, title, unit="device"):
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise ChildProcessError(
                        f"{title}: the process of {job['device_id']} ended early; its error is above"
                    )
                results.append(json.loads(answer))
            process.stdin.close()
        return results


def compare(results: list[dict[str, Any]], devices: FleetVectors) -> dict[str, Any]:
    """Real devices against the fleet's: differences of their vectors, and how many gates agree.

    Rounding that differs in the last bit can make two nearly equal epochs change places as the best one, or a ReLU
    switch; such a device ends elsewhere, so the median is given beside the largest difference.
    """
    users = users_of(result["device_id"] for result in results)
    vectors = np.array([result["vector"] for result in results], np.float32).reshape(
        len(users), devices.vectors.shape[1]
    )
    gates = np.array([result["gate"] for result in results])
    differences = np.abs(vectors - devices.vectors[users]).max(axis=1, initial=0.0)
    return {
        "devices": len(users),
        "largest_difference": float(differences.max(initial=0.0)),
        "median_difference": float(np.median(differences)) if len(users) else 0.0,
        "within_1e-5": int((differences < 1e-5).sum()),
        "equal_gates": int((gates == devices.gates[users]).sum()),
    }


def deliver(
    bundle: Bundle, results: list[dict[str, Any]], devices: FleetVectors, store: VectorStore, sequence: int
) -> dict[str, Any]:
    """Sends the real devices' uploads and, for everybody else, the fleet's vectors.

    Returns:
      Facts: receipts by status, uploads by origin, median bytes of one.
    """
    bodies = [base64.b64decode(result["upload"]) for result in results if "upload" in result]
    real = len(bodies)
    simulated = np.setdiff1d(np.flatnonzero(devices.samples > 0), users_of(result["device_id"] for result in results))
    keys = store.register_devices([device_id(user) for user in simulated])
    for user in simulated.tolist():
        name = device_id(user)
        bodies.append(sign(upload_of(bundle.identity, name, devices, user, sequence), keys[name]))
    began = time.perf_counter()
    receipts = Ingest(store).receive_many(bodies)
    return {
        "uploads_real": real,
        "uploads_simulated": len(simulated),
        "upload_bytes": int(np.median([len(body) for body in bodies])) if bodies else 0,
        "ingest_seconds": round(time.perf_counter() - began, 2),
        "receipts": dict(Counter(dccl_pb2.Receipt.Status.Name(receipt.status) for receipt in receipts)),
    }


def _past(data: TrainingData, user: int) -> dict[str, list[Any]]:
    """What the user did before the samples of `data`, in ids of the log."""
    log = data.log
    before = slice(log.offsets[user], log.offsets[user] + data.span.start[user])
    past = {"items": log.catalogue.ids[log.items[before] - 1].tolist()}
    return past if log.labels is None else past | {"labels": log.labels[before].tolist()}


def _events(data: TrainingData, users: np.ndarray) -> dict[int, list[tuple[Any, int, list[Any]]]]:
    """For each user the interactions of `data`, oldest first: (item, label, skipped items), in ids of the log."""
    ids = data.log.catalogue.ids
    events: dict[int, list[tuple[Any, int, list[Any]]]] = {int(user): [] for user in users}
    for batch in data.of_users(users).in_order(0):
        real = np.argwhere(batch["weights"] > 0)
        owners, candidates, targets = (batch[name] for name in ("users", "candidates", "targets"))
        for row, position in real:
            item, *skipped = ids[candidates[row, position] - 1].tolist()
            events[int(owners[row])].append((item, int(targets[row, position, 0]), skipped))
    return events

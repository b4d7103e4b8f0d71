"""Some users' devices run for real: the exported bundle on a TFLite runtime, one state folder each.

They log the same samples as the fleet's simulated devices, so the two can be compared vector by vector. All
vectors, real and simulated, then reach the store as signed messages through `Ingest`.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from dccl_tf.fleet import FleetVectors
from dccl_tf.progress import progress
from dccl_tf.training_data import TrainingData
from dccl_tf.vectors import Ingest, VectorStore
from device_runtime import Bundle, Device
from protos import dccl_pb2
from protos.signing import sign

PREFIX = "user-"


def device_id(user: int) -> str:
    return f"{PREFIX}{user}"


def users_of(device_ids: list[str]) -> np.ndarray:
    """User numbers of device ids that `device_id` made."""
    return np.array([int(name.removeprefix(PREFIX)) for name in device_ids], np.int64)


def collect(
    bundle: Bundle,
    data: TrainingData,
    devices: FleetVectors,
    store: VectorStore,
    *,
    folder: Path,
    count: int,
    seed: int,
    runtime: str = "auto",
) -> dict[str, Any]:
    """Runs `count` devices for real, uploads their vectors and the fleet's for everybody else.

    Returns:
      Facts: devices run, largest difference of a vector from the fleet's, seconds, receipts by status, bytes.
    """
    active = np.flatnonzero(devices.samples > 0)
    chosen = np.sort(np.random.default_rng(seed).permutation(active)[:count])
    began = time.perf_counter()
    bodies: list[bytes] = []
    differences, gates = [], []
    logged = samples_of(data, chosen)
    for user in progress(chosen, "devices for real", unit="device"):
        with open_device(bundle, data, user, store, folder, runtime) as device:
            for item, label, skipped in logged[user]:
                device.log(item, label, skipped)
            report = device.personalize()
            differences.append(float(np.abs(device.vector - devices.vectors[user]).max()))
            gates.append(report.gate == devices.gates[user])
            bodies.append(device.upload())
    seconds = time.perf_counter() - began
    simulated = np.setdiff1d(active, chosen)
    bodies += [simulated_upload(bundle, devices, int(user), store) for user in simulated]
    receipts = Ingest(store).receive_many(bodies)
    return {
        "devices": len(chosen),
        "largest_difference": max(differences, default=0.0),
        "equal_gates": int(sum(gates)),
        "seconds": round(seconds, 2),
        "upload_bytes": int(np.median([len(body) for body in bodies])) if bodies else 0,
        "receipts": dict(Counter(dccl_pb2.Receipt.Status.Name(receipt.status) for receipt in receipts)),
    }


def samples_of(data: TrainingData, users: np.ndarray) -> dict[int, list[tuple[Any, int, list[Any]]]]:
    """For each user the interactions of `data`, oldest first, as a device logs them: (item, label, skipped items),
    in ids of the log."""
    ids = data.log.catalogue.ids
    logged: dict[int, list[tuple[Any, int, list[Any]]]] = {int(user): [] for user in users}
    for batch in data.of_users(users)(0, shuffle=False):
        real = np.argwhere(batch["weights"].numpy() > 0)
        owners, candidates, targets = (batch[name].numpy() for name in ("users", "candidates", "targets"))
        for row, position in real:
            item, *skipped = ids[candidates[row, position] - 1].tolist()
            logged[int(owners[row])].append((item, int(targets[row, position, 0]), skipped))
    return logged


def open_device(
    bundle: Bundle, data: TrainingData, user: int, store: VectorStore, folder: Path, runtime: str
) -> Device:
    """The user's device on `bundle`; a new one has the user's past before `data` as its history."""
    users, log = data.log.users, data.log
    name = device_id(user)
    profile = {
        field.name: field.values[index - 1]
        for field, index in zip(users.fields, users.profile[user], strict=True)
        if index
    }
    device = Device.open(
        folder / name, bundle, device_id=name, key=store.register_device(name), profile=profile, runtime=runtime
    )
    if not device.history_size:
        first = log.offsets[user]
        past = slice(first, first + data.span.start[user])
        labels = None if log.labels is None else log.labels[past].tolist()
        device.remember(log.catalogue.ids[log.items[past] - 1].tolist(), labels)
    return device


def simulated_upload(bundle: Bundle, devices: FleetVectors, user: int, store: VectorStore) -> bytes:
    """The body that the user's phone would send: a signed `VectorUpload` of the fleet's vector."""
    name = device_id(user)
    evidence = None
    if devices.heldout_samples[user]:
        evidence = dccl_pb2.Evidence(
            heldout_samples=int(devices.heldout_samples[user]),
            cloud_loss=float(devices.cloud_loss[user]),
            personal_loss=float(devices.personal_loss[user]),
            gate=float(devices.gates[user]),
        )
    upload = dccl_pb2.VectorUpload(
        schema=1,
        device_id=name,
        bundle=bundle.identity,
        sequence=1,
        vector=devices.vectors[user].tolist(),
        samples=int(devices.samples[user]),
        evidence=evidence,
    )
    return sign(upload, store.register_device(name))

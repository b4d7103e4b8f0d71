"""What simulated devices send: signed messages to a store, or Parquet in the layout of `dccl_tf.vectors.parquet`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import dataset, parquet

from dccl_tf.files import whole
from dccl_tf.fleet import FleetVectors
from dccl_tf.progress import progress
from dccl_tf.vectors import Ingest, VectorStore
from dccl_tf.vectors.parquet import SCHEMA
from protos import dccl_pb2
from protos.signing import sign

# Beside the columns of a store's copy: how many rows were held out, which an upload's evidence tells.
FLEET_SCHEMA = SCHEMA.append(pa.field("heldout_samples", pa.int64()))
AT_ONCE = 4096  # uploads in one transaction


def upload_of(bundle: bytes, device_id: str, devices: FleetVectors, row: int, sequence: int) -> dccl_pb2.VectorUpload:
    """What one device would send.

    Args:
      bundle: identity of the bundle that it trained on.
      device_id: its name.
      devices: the fleet.
      row: its row there.
      sequence: number of the upload.
    """
    evidence = None
    if devices.heldout_samples[row]:
        evidence = dccl_pb2.Evidence(
            heldout_samples=int(devices.heldout_samples[row]),
            cloud_loss=float(devices.cloud_loss[row]),
            personal_loss=float(devices.personal_loss[row]),
            gate=float(devices.gates[row]),
        )
    return dccl_pb2.VectorUpload(
        schema=1,
        device_id=device_id,
        bundle=bundle,
        sequence=sequence,
        vector=devices.vectors[row].tolist(),
        samples=int(devices.samples[row]),
        evidence=evidence,
    )


def fleet_batch(bundle: bytes, names: Sequence[str], devices: FleetVectors, sequence: int) -> pa.RecordBatch:
    """Rows of `FLEET_SCHEMA` of those devices that have trained.

    Args:
      bundle: identity of the bundle that they trained on.
      names: [U] device ids.
      devices: the fleet, a row a name.
      sequence: number of these uploads.
    """
    rows = np.flatnonzero(devices.samples > 0)
    unknown = devices.heldout_samples[rows] == 0
    ends = np.arange(len(rows) + 1, dtype=np.int32) * devices.vectors.shape[1]
    columns = {
        "device_id": pa.array([names[row] for row in rows], pa.string()),
        "bundle": pa.array([bundle] * len(rows), pa.binary()),
        "sequence": pa.array(np.full(len(rows), sequence, np.int64)),
        "vector": pa.ListArray.from_arrays(pa.array(ends), pa.array(devices.vectors[rows].ravel(), pa.float32())),
        "samples": pa.array(devices.samples[rows], pa.int64()),
        "gate": pa.array(devices.gates[rows].astype(np.float64), mask=unknown),
        "cloud_loss": pa.array(devices.cloud_loss[rows].astype(np.float64), mask=unknown),
        "personal_loss": pa.array(devices.personal_loss[rows].astype(np.float64), mask=unknown),
        "heldout_samples": pa.array(devices.heldout_samples[rows], pa.int64()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in FLEET_SCHEMA.names], schema=FLEET_SCHEMA)


def fleet_of(batch: pa.RecordBatch) -> FleetVectors:
    """The fleet that `fleet_batch` wrote."""

    def numbers(name: str, empty: float) -> np.ndarray:
        return batch[name].fill_null(empty).to_numpy(zero_copy_only=False)

    return FleetVectors(
        vectors=batch["vector"].flatten().to_numpy().reshape(len(batch), -1),
        gates=numbers("gate", 0.0).astype(np.float32),
        samples=batch["samples"].to_numpy(),
        heldout_samples=batch["heldout_samples"].to_numpy(),
        cloud_loss=numbers("cloud_loss", np.nan),
        personal_loss=numbers("personal_loss", np.nan),
    )


def read_fleet(path: str | Path) -> Iterable[pa.RecordBatch]:
    """Batches of `FLEET_SCHEMA` of a file or a folder of them."""
    for batch in dataset.dataset(str(path), schema=FLEET_SCHEMA, format="parquet").to_batches(batch_size=AT_ONCE):
        if len(batch):
            yield batch


def write_fleet(path: str | Path, batch: pa.RecordBatch) -> None:
    """Writes one file of what `fleet_batch` made."""
    with whole(Path(path)) as file:
        parquet.write_table(pa.Table.from_batches([batch]), file)


def summary(path: str | Path) -> dict[str, float]:
    """Devices, share of open gates among those with evidence, and means of their held-out log losses (NaN without)."""
    devices, known = 0, 0
    sums = dict.fromkeys(("gate", "cloud_loss", "personal_loss"), 0.0)
    for batch in read_fleet(path):
        devices, known = devices + len(batch), known + len(batch) - batch["gate"].null_count
        for name in sums:
            sums[name] += pc.sum(batch[name], min_count=0).as_py()
    means = {name: total / known if known else float("nan") for name, total in sums.items()}
    return {"devices": devices, "open_gates": means.pop("gate"), **means}


def load_fleet(path: str | Path, store: VectorStore) -> Counter[str]:
    """Sends all vectors of a file or folder to a store as their devices would, signed; memory holds a batch.

    Args:
      path: what a fleet wrote.
      store: knows the bundles; new devices are registered.

    Returns:
      Receipts by status, and the rejected ones by reason.
    """
    ingest, receipts = Ingest(store), Counter()
    total = dataset.dataset(str(path), schema=FLEET_SCHEMA, format="parquet").count_rows()
    with progress([], "uploads", total=total, unit="device") as bar:
        for batch in read_fleet(path):
            names, devices = batch["device_id"].to_pylist(), fleet_of(batch)
            keys = store.register_devices(names)
            bodies = []
            for row, name in enumerate(names):
                bundle, sequence = batch["bundle"][row].as_py(), batch["sequence"][row].as_py()
                bodies.append(sign(upload_of(bundle, name, devices, row, sequence), keys[name]))
            answers = ingest.receive_many(bodies)
            receipts.update(map(_answer, answers))
            bar.update(len(batch))
    return receipts


def _answer(receipt: dccl_pb2.Receipt) -> str:
    """Its status, or the reason why it is rejected."""
    if receipt.status == dccl_pb2.Receipt.REJECTED:
        return dccl_pb2.Reason.Name(receipt.reason)
    return dccl_pb2.Receipt.Status.Name(receipt.status)

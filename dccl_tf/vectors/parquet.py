"""Vectors as Parquet: a copy of a store for where no database is in reach, and what a cluster's fleet writes.

A row is a device's newest vector of one bundle: device_id text; bundle binary, 32 bytes; sequence int64; vector, a list
of K float32; samples int64; gate, cloud_loss and personal_loss float64, null without evidence. A file, or a folder of
them.
"""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet
from absl import logging

from dccl_tf.files import whole
from dccl_tf.vectors.store import UploadedVectors

SCHEMA = pa.schema(
    {
        "device_id": pa.string(),
        "bundle": pa.binary(),
        "sequence": pa.int64(),
        "vector": pa.list_(pa.float32()),
        "samples": pa.int64(),
        "gate": pa.float64(),
        "cloud_loss": pa.float64(),
        "personal_loss": pa.float64(),
    }
)


def write_vectors(path: str | Path, by_bundle: Mapping[bytes, UploadedVectors]) -> int:
    """Writes one file.

    Args:
      path: of the file.
      by_bundle: identity of a bundle to its vectors.

    Returns:
      Number of vectors.
    """
    with whole(Path(path)) as file, pyarrow.parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for identity, uploaded in by_bundle.items():
            writer.write_table(_table(identity, uploaded))
    return sum(len(uploaded) for uploaded in by_bundle.values())


def read_vectors(path: str | Path, bundle: bytes) -> UploadedVectors:
    """Each device's newest vector that was trained on a bundle, as `VectorStore.newest` gives them.

    Rows that no store would have taken, without an id or with a vector that is not finite, are told and left out.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      ValueError: it has other columns, or vectors of several lengths.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"vectors: expected a Parquet file or a folder of them, got nothing at {path}")
    try:
        files = pyarrow.dataset.dataset(str(path), format="parquet")
        table = files.to_table(columns=SCHEMA.names, filter=pyarrow.dataset.field("bundle") == bundle).cast(SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ValueError(f"vectors: expected the columns {', '.join(SCHEMA.names)} in {path}, got {error}") from error
    table, vectors = _sound(table, path, bundle)
    frame = table.select(["device_id", "sequence"]).to_pandas()
    newest = frame.sort_values(["device_id", "sequence"], kind="stable").drop_duplicates("device_id", keep="last")
    rows = newest.index.to_numpy()
    table, vectors = table.take(rows), vectors[rows]

    def numbers(name: str) -> np.ndarray:
        return table[name].to_numpy()

    return UploadedVectors(
        device_ids=table["device_id"].to_pylist(),
        vectors=vectors,
        samples=numbers("samples"),
        gates=numbers("gate").astype(np.float32),
        cloud_loss=numbers("cloud_loss"),
        personal_loss=numbers("personal_loss"),
        sequences=numbers("sequence"),
    )


def _sound(table: pa.Table, path: str | Path, bundle: bytes) -> tuple[pa.Table, np.ndarray]:
    """The rows that have an id, numbers and a finite vector, and their vectors [M, K]; K = 0 without any."""
    needed = ("device_id", "sequence", "vector", "samples")
    sound = table.filter(reduce(pyarrow.compute.and_, (table[name].is_valid() for name in needed)))
    lengths = np.unique(pyarrow.compute.list_value_length(sound["vector"]).to_numpy())
    if len(lengths) > 1:
        raise ValueError(f"vectors: expected one length for all of bundle {bundle.hex()[:16]}, got {lengths.tolist()}")
    flat = sound["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)  # NaN where a number is missing
    vectors = flat.astype(np.float32).reshape(len(sound), lengths[0] if len(lengths) else 0)
    finite = np.isfinite(vectors).all(axis=1)
    if left_out := len(table) - int(finite.sum()):
        logging.warning("%s: left out %d of %d vectors, without an id or not finite", path, left_out, len(table))
    return sound.filter(pa.array(finite)), vectors[finite]


def _table(identity: bytes, uploaded: UploadedVectors) -> pa.Table:
    count, length = uploaded.vectors.shape
    flat = pa.array(np.ascontiguousarray(uploaded.vectors, np.float32).reshape(-1))
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * length)
    columns = {
        "device_id": pa.array(uploaded.device_ids, pa.string()),
        "bundle": pa.array([identity] * count, pa.binary()),
        "sequence": pa.array(uploaded.sequences, pa.int64()),
        "vector": pa.ListArray.from_arrays(offsets, flat),
        "samples": pa.array(uploaded.samples, pa.int64()),
    }
    evidence = {"gate": uploaded.gates, "cloud_loss": uploaded.cloud_loss, "personal_loss": uploaded.personal_loss}
    columns |= {name: pa.array(one.astype(np.float64), from_pandas=True) for name, one in evidence.items()}  # NaN: null
    return pa.table(columns, schema=SCHEMA)

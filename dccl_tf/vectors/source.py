"""Where programs read uploaded vectors from: a database, or the Parquet files that stand in for one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dccl_tf.vectors.store import UploadedVectors, VectorStore


def newest_vectors(address: str) -> Callable[[bytes], UploadedVectors]:
    """A function from a bundle's identity to each device's newest vector in it.

    Args:
      address: URL of a store that there is, such as sqlite:///vectors.sqlite, or a .parquet file, or a folder of them.
    """
    if address.rstrip("/").endswith(".parquet") or Path(address).is_dir():
        from dccl_tf.vectors.parquet import read_vectors  # pyarrow, which the collector need not have

        return partial(read_vectors, address)
    return VectorStore.open(address, create=False).newest

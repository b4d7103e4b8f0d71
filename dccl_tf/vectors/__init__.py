"""Uploaded vectors: the checks that they pass (`Ingest`) the store that holds them (`VectorStore`), and
where programs read them (`newest_vectors`)."""

from dccl_tf.vectors.ingest import Ingest, Limits
from dccl_tf.vectors.keys import KeyVault
from dccl_tf.vectors.source import newest_vectors
from dccl_tf.vectors.store import UploadedVectors, VectorStore

__all__ = ["Ingest", "KeyVault", "Limits", "UploadedVectors", "VectorStore", "newest_vectors"]

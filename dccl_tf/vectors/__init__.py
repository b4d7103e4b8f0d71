"""Uploaded vectors: the checks that they pass (`Ingest`) and the store that holds them (`VectorStore`)."""

from dccl_tf.vectors.ingest import Ingest, Limits
from dccl_tf.vectors.keys import KeyVault
from dccl_tf.vectors.store import UploadedVectors, VectorStore

__all__ = ["Ingest", "KeyVault", "Limits", "UploadedVectors", "VectorStore"]

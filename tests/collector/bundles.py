"""Real bundles, small: one and the same model under as many identities as a test needs."""

import hashlib
import zipfile
from functools import cache
from pathlib import Path

from protos import dccl_pb2

TINY = Path(__file__).resolve().parents[1] / "device" / "tiny_bundle"


def tiny_manifest() -> dccl_pb2.Manifest:
    return dccl_pb2.Manifest.FromString((TINY / "manifest.pb").read_bytes())


@cache
def tiny_identity() -> bytes:
    return hashlib.sha256((TINY / "manifest.pb").read_bytes()).digest()


TINY_K = tiny_manifest().metapatch_length


def zipped(path: Path, parent: bytes = b"") -> bytes:
    """Writes the tiny bundle as a zip, as the child of another one; returns its identity."""
    manifest = tiny_manifest()
    if parent:
        manifest.parent = parent
    content = manifest.SerializeToString() if parent else (TINY / "manifest.pb").read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in TINY.iterdir():
            archive.writestr(file.name, content if file.name == "manifest.pb" else file.read_bytes())
    return hashlib.sha256(content).digest()

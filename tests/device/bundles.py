"""Other bundles for the tests, made of the tiny one without an exporter."""

import hashlib
import shutil

from protos import dccl_pb2


def rewritten(source, destination, change=lambda manifest: None, vocabulary=None):
    """A copy of a bundle with another manifest, and another vocabulary if one is given; its hashes agree."""
    shutil.copytree(source, destination)
    manifest = dccl_pb2.Manifest.FromString((source / "manifest.pb").read_bytes())
    if vocabulary is not None:
        content = vocabulary.SerializeToString()
        (destination / "vocabulary.pb").write_bytes(content)
        manifest.vocabulary_sha256 = hashlib.sha256(content).digest()
    change(manifest)
    (destination / "manifest.pb").write_bytes(manifest.SerializeToString())
    return destination


def successor(source, destination):
    """The bundle that follows: the same model, another identity."""

    def change(manifest):
        manifest.parent = hashlib.sha256((source / "manifest.pb").read_bytes()).digest()

    return rewritten(source, destination, change)


def with_file(source, destination, name, content):
    """A copy of a bundle with another file, to which its manifest agrees."""

    def change(manifest):
        setattr(manifest, name.split(".")[0] + "_sha256", hashlib.sha256(content).digest())

    rewritten(source, destination, change)
    (destination / name).write_bytes(content)
    return destination

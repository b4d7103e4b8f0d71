"""A bundle: what the cloud ships to every phone, opened from a folder or a zip and verified (docs/protocol.md).

No byte of a file is used before its SHA-256 agrees with the manifest.
"""

import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from device_runtime.bundle.vocabulary import Vocabulary, first_repeated
from device_runtime.errors import BundleError, InputError
from protos import dccl_pb2

AnyMessage = TypeVar("AnyMessage", bound=Message)

SCHEMA = 1
PROTOCOLS = ("next", "liked")
MANIFEST, MODEL = "manifest.pb", "model.tflite"
# Each file beside the manifest and the manifest's field that holds its hash.
HASHES = {
    MODEL: "model_sha256",
    "vocabulary.pb": "vocabulary_sha256",
    "certificate.json": "certificate_sha256",
    "goldens.pb": "goldens_sha256",
}


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. Made by `Bundle.open`."""

    path: Path
    identity: bytes  # 32 bytes: SHA-256 of manifest.pb
    manifest: dccl_pb2.Manifest
    vocabulary: Vocabulary
    files: dict[str, bytes | Path]  # by name; the model of a folder stays on the disk

    @classmethod
    def open(cls, path: str | Path) -> "Bundle":
        """Reads and verifies a folder, or a zip with the files at its root.

        Raises:
          BundleError: it is absent, a file is missing, damaged or does not agree with its hash, or the schema is
            one that this version does not know.
        """
        path = _as_path(path)
        files = _read(path, [MANIFEST, *HASHES])
        manifest = _parse(dccl_pb2.Manifest(), MANIFEST, files[MANIFEST])
        check_manifest(manifest)
        for name, field in HASHES.items():
            _check_hash(path / name, files[name], getattr(manifest, field))
        items = _parse(dccl_pb2.Vocabulary(), "vocabulary.pb", files["vocabulary.pb"])
        vocabulary = Vocabulary(items, manifest.profile)
        if len(vocabulary) != manifest.items:
            raise BundleError(f"vocabulary.pb: expected {manifest.items} items, got {len(vocabulary)}; export it again")
        return cls(path, hashlib.sha256(files[MANIFEST]).digest(), manifest, vocabulary, files)

    @staticmethod
    def identify(path: str | Path) -> bytes:
        """The identity of the bundle at a path, by its manifest alone; nothing is verified. Raises BundleError."""
        return hashlib.sha256(_read(_as_path(path), [MANIFEST])[MANIFEST]).digest()

    @property
    def model(self) -> bytes | Path:
        """What to give to `load_runtime`: the path of model.tflite, verified again this moment, or its bytes where
        the bundle is a zip.

        Raises:
          BundleError: the file is no longer what it was when the bundle was opened.
        """
        model = self.files[MODEL]
        if isinstance(model, Path):
            _check_hash(model, model, self.manifest.model_sha256)
        return model

    @property
    def model_bytes(self) -> bytes:
        """model.tflite, verified; raises BundleError as `model` does."""
        model = self.files[MODEL]
        if isinstance(model, Path):
            content = _content(model)
            _check_hash(model, content, self.manifest.model_sha256)
            return content
        return model

    @property
    def size(self) -> int:
        """Bytes of all files together, unzipped."""
        return sum(one.stat().st_size if isinstance(one, Path) else len(one) for one in self.files.values())

    @cached_property
    def goldens(self) -> dccl_pb2.Goldens:
        """Calls to replay on a fresh interpreter."""
        return _parse(dccl_pb2.Goldens(), "goldens.pb", self.files["goldens.pb"])

    @cached_property
    def certificate(self) -> Any:
        """certificate.json, parsed. Raises BundleError if it is not JSON."""
        try:
            return json.loads(self.files["certificate.json"])
        except ValueError as error:
            raise BundleError(f"certificate.json: not JSON ({error}); export the bundle again") from error


def _as_path(path: str | Path) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"bundle: expected an open Bundle or the path of a folder or a zip, got {type(path).__name__}")
    return Path(path)


def _read(path: Path, names: list[str]) -> dict[str, bytes | Path]:
    """The files of these names, and no others; the model of a folder as its path."""
    try:
        if path.is_dir():
            missing = [name for name in names if not (path / name).is_file()]
            if not missing:
                content = {name: (path / name).read_bytes() for name in names if name != MODEL}
                return content | {MODEL: path / MODEL} if MODEL in names else content
        else:
            with zipfile.ZipFile(path) as archive:
                missing = sorted(set(names) - set(archive.namelist()))
                if not missing:
                    return {name: archive.read(name) for name in names}
    except FileNotFoundError as error:
        raise BundleError(f"bundle: expected a folder or a zip, got nothing at {path}") from error
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise BundleError(f"bundle: {path} cannot be read as a folder or a zip ({error}); fetch it again") from error
    raise BundleError(f"bundle: expected {', '.join(names)} in {path}, got none of {', '.join(missing)}")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror}); fetch the bundle again") from error


def _check_hash(name: Path, content: bytes | Path, expected: bytes) -> None:
    """Raises BundleError if the bytes, or those of a file, have another SHA-256."""
    try:
        if isinstance(content, Path):
            with content.open("rb") as file:
                got = hashlib.file_digest(file, "sha256").digest()
        else:
            got = hashlib.sha256(content).digest()
    except OSError as error:
        raise BundleError(f"{name}: cannot be read ({error.strerror}); fetch the bundle again") from error
    if expected != got:
        raise BundleError(
            f"{name}: expected SHA-256 {expected.hex() or '(none)'} as in the manifest, got {got.hex()}; "
            "the file was damaged or replaced, fetch the bundle again"
        )


def _parse(message: AnyMessage, name: str, content: bytes) -> AnyMessage:
    try:
        message.ParseFromString(content)
    except (DecodeError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{name}: not a protobuf message of this toolkit ({error}); fetch the bundle again"
        ) from error
    return message


def check_manifest(manifest: dccl_pb2.Manifest) -> None:
    """Raises BundleError for sizes, a protocol or training defaults that no device takes."""
    if manifest.schema != SCHEMA:
        raise BundleError(
            f"{MANIFEST}: expected schema {SCHEMA}, got {manifest.schema}; "
            "use a version of this package that knows it, or fetch the bundle again"
        )
    for name in ("metapatch_length", "history_length", "candidates", "train_batch", "items"):
        if not 0 < getattr(manifest, name) < 2**31 - 1:
            raise BundleError(f"{MANIFEST}: expected {name} of at least 1, got {getattr(manifest, name)}")
    if not manifest.profile:
        raise BundleError(f"{MANIFEST}: expected at least one profile field, got none")
    _refuse_repeated("profile field", [field.name for field in manifest.profile])
    for field in manifest.profile:
        _refuse_repeated(f"value of the profile field {field.name!r}", field.values)
    if manifest.protocol not in PROTOCOLS:
        raise BundleError(f"{MANIFEST}: expected the protocol {' or '.join(PROTOCOLS)}, got {manifest.protocol!r}")
    training = manifest.training
    if training.optimizer not in ("adam", "sgd"):
        raise BundleError(f"{MANIFEST}: expected training.optimizer adam or sgd, got {training.optimizer!r}")
    if not (0.0 < training.learning_rate < math.inf and 0.0 <= training.pull < math.inf and training.epochs):
        raise BundleError(
            f"{MANIFEST}: expected training with a positive learning_rate and epochs and a pull of at least 0, "
            f"got {training.learning_rate}, {training.epochs}, {training.pull}"
        )
    if not (0.0 <= training.heldout_fraction < 1.0 and math.isfinite(training.gate_margin)):
        raise BundleError(
            f"{MANIFEST}: expected training.heldout_fraction in [0, 1) and a finite gate_margin, "
            f"got {training.heldout_fraction} and {training.gate_margin}"
        )


def _refuse_repeated(what: str, names: Sequence[str]) -> None:
    """Raises BundleError where a name stands twice: a profile tells names alone, so one of the two would be lost."""
    if (twice := first_repeated(names)) is not None:
        raise BundleError(f"{MANIFEST}: expected each {what} once, got {twice!r} again; export the bundle again")

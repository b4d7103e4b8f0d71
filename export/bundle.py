"""Writes a bundle: converts, certifies, records the goldens, and only then lets a folder or zip appear."""

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue, Users
from device_runtime import Bundle, read_operators
from device_runtime.bundle.bundle import HASHES, check_manifest
from device_runtime.bundle.vocabulary import Vocabulary
from device_runtime.errors import BundleError
from export.certificate import as_json, certify
from export.convert import ExportError, check_precision, convert
from export.device_module import DeviceModule, Sizes
from export.goldens import as_message
from export.operator_versions import OLDEST_RUNTIME
from export.runtimes import Candidate
from export.subject import Subject
from protos import dccl_pb2

SCHEMA = 1


def export_bundle(
    cloud: CloudModel,
    destination: str | Path,
    *,
    catalogue: Catalogue,
    users: Users,
    protocol: str,
    training: dccl_pb2.Training,
    parent: bytes = b"",
    precision: str = "float32",
    sizes: Sizes | None = None,
    seed: int = 0,
) -> Bundle:
    """Exports one model for all phones. The same model and settings give the same bundle, to the byte.

    Args:
      cloud: f, Theta and U.
      destination: a folder, or a file that ends in .zip; it must not exist.
      catalogue: whose ids become the vocabulary.
      users: whose profile fields the bundle describes.
      protocol: "next" or "liked".
      training: the defaults with which devices train; `optimizer` is fixed in the file.
      parent: identity of the bundle that this one was distilled from.
      precision: of the constants, "float32" or "float16".
      sizes: C and B.
      seed: of the golden calls.

    Returns:
      The bundle, opened and verified.

    Raises:
      ExportError: the model cannot be exported as asked; nothing was written.
      CertificateError: the file did not pass; nothing was written.
      FileExistsError: there is something at the destination.
    """
    destination, sizes = Path(destination), sizes or Sizes()
    if destination.exists():
        raise _taken(destination)
    check_precision(precision)
    _check_fit(cloud, catalogue, users, protocol)
    config = cloud.din.config
    manifest = dccl_pb2.Manifest(
        schema=SCHEMA,
        protocol=protocol,
        metapatch_length=cloud.metapatch.length,
        history_length=config.history_length,
        candidates=sizes.candidates,
        train_batch=sizes.train_batch,
        encoded_width=config.junction_widths[0],
        items=config.items,
        history_labels=config.history_labels,
        profile=[dccl_pb2.ProfileField(name=field.name, values=field.values) for field in users.fields],
        training=training,
        precision=precision,
        oldest_runtime=OLDEST_RUNTIME,
        parent=parent,
    )
    vocabulary = _vocabulary(catalogue)
    _check_accepted(manifest, vocabulary)
    module = DeviceModule(cloud, sizes, training.optimizer, precision)
    model = convert(module, module.functions, precision)
    subject, checks = certify(Subject(model, cloud, module, sizes, precision, seed, training.learning_rate))
    calls = subject.calls
    outputs = Candidate("tensorflow", delegate=False).run(model, calls)
    files = {
        "model.tflite": model,
        "vocabulary.pb": vocabulary.SerializeToString(),
        "goldens.pb": as_message(calls, outputs).SerializeToString(deterministic=True),
        "certificate.json": json.dumps(as_json(checks, precision), indent=1).encode(),
    }
    manifest.operators.extend(dccl_pb2.Operator(name=use.name, version=use.version) for use in read_operators(model))
    for name, content in files.items():
        setattr(manifest, HASHES[name], hashlib.sha256(content).digest())
    _write(destination, files | {"manifest.pb": manifest.SerializeToString(deterministic=True)})
    return Bundle.open(destination)


def _check_fit(cloud: CloudModel, catalogue: Catalogue, users: Users, protocol: str) -> None:
    config = cloud.din.config
    if protocol not in ("next", "liked"):
        raise ExportError(f"protocol: expected 'next' or 'liked', got {protocol!r}")
    try:
        cloud.check_made_for(catalogue, users)
    except ValueError as error:
        raise ExportError(str(error)) from error
    if len(catalogue) != config.items:
        raise ExportError(f"catalogue: expected the model's {config.items} items, got {len(catalogue)}")
    sizes = tuple(field.size for field in users.fields)
    if sizes != tuple(config.profile_sizes):
        raise ExportError(f"users: expected profile fields of {tuple(config.profile_sizes)} values, got {sizes}")
    if not any(cloud.metapatch.junctions):
        raise ExportError("junctions: expected a patch at one of them at least, got none: there is nothing to train")


def _vocabulary(catalogue: Catalogue) -> dccl_pb2.Vocabulary:
    ids = catalogue.ids.tolist()
    try:
        if catalogue.ids.dtype.kind in "iu":
            return dccl_pb2.Vocabulary(int_ids=ids)
        return dccl_pb2.Vocabulary(string_ids=ids)
    except (TypeError, ValueError) as error:
        raise ExportError(f"catalogue: expected ids of 64 bits or of text that UTF-8 can hold: {error}") from error


def _check_accepted(manifest: dccl_pb2.Manifest, vocabulary: dccl_pb2.Vocabulary) -> None:
    """What a device would refuse after all the work."""
    try:
        check_manifest(manifest)
        Vocabulary(vocabulary)
    except BundleError as error:
        raise ExportError(str(error)) from error


def _taken(destination: Path) -> FileExistsError:
    return FileExistsError(f"destination: expected a new folder or zip, got {destination}, which exists")


def _write(destination: Path, files: dict[str, bytes]) -> None:
    """Makes the destination appear whole and as a device takes it, or not at all."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".unfinished-") as temporary:
        whole = Path(temporary, "bundle")
        if destination.suffix == ".zip":
            with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in sorted(files.items()):
                    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        else:
            whole.mkdir()
            for name, content in files.items():
                (whole / name).write_bytes(content)
        try:
            Bundle.open(whole)
        except BundleError as error:
            raise ExportError(str(error)) from error
        try:  # neither call replaces what another export has written meanwhile
            (os.rename if whole.is_dir() else os.link)(whole, destination)
        except OSError as error:
            if destination.exists():
                raise _taken(destination) from error
            os.replace(whole, destination)  # for file systems without hard links

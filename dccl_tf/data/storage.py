"""A prepared log as one `.npz` file: arrays and JSON, no pickle, so that reading a file never runs code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.files import DAMAGED_ZIP, whole

FORMAT = 1
_ARRAYS = ("items", "timestamps", "labels", "offsets")


def save_log(log: InteractionLog, path: str | Path) -> Path:
    """Writes a log; a kill leaves the old file or the new one.

    Args:
      log: all of it, users and catalogue too.
      path: of the file; its folder is made, and `.npz` is added where it is missing.

    Returns:
      The file's path.

    Raises:
      ValueError: ids of Python objects, which only a pickle could hold.
    """
    for name, ids in (("users.ids", log.users.ids), ("catalogue.ids", log.catalogue.ids)):
        if ids.dtype.hasobject:
            raise ValueError(f"{name}: expected int64 or text of NumPy's own (`ids.astype(str)`), got Python objects")
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    words = {
        "format": FORMAT,
        "fields": [[field.name, field.values] for field in log.users.fields],
        "category_names": log.catalogue.category_names,
        "titles": log.catalogue.titles,
        "counts": log.counts,
        "source": log.source,
        "shared_clock": log.shared_clock,
    }
    arrays = {name: getattr(log, name) for name in _ARRAYS if getattr(log, name) is not None}
    arrays |= {"user_ids": log.users.ids, "profile": log.users.profile}
    arrays |= {"item_ids": log.catalogue.ids, "categories": log.catalogue.categories}
    arrays["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
    with whole(path) as unfinished:
        np.savez_compressed(unfinished, **arrays)
    return path


# What NumPy, zipfile and json raise for a file with wrong bytes in it.
_DAMAGED = (ValueError, LookupError, OSError, EOFError, TypeError, AttributeError, *DAMAGED_ZIP)


def read_log(path: str | Path) -> InteractionLog:
    """Reads what `save_log` wrote, or a folder of `dccl_tf.data.sequence_files`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file, a damaged one or one of another format.
    """
    if Path(path).is_dir():
        from dccl_tf.data.sequence_files import read_sequences

        return read_sequences(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        words = json.loads(arrays["words"].tobytes())
        if (found := words.get("format")) == FORMAT:
            return _log(arrays, words)
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        raise ValueError(
            f"{path}: expected a log that prepare_data wrote, got {type(error).__name__}: {error}"
        ) from error
    raise ValueError(f"{path}: expected format {FORMAT}, got {found}; prepare the data again")


def clock_of(words: dict[str, Any]) -> bool:
    """`shared_clock` of a stored log. Files of before it was stored do not say; of what they held, Amazon alone has no
    clock that users share."""
    return words.get("shared_clock", not words["source"].startswith("Amazon reviews of ten categories"))


def log_identity(log: InteractionLog) -> str:
    """SHA-256, in hexadecimal, of all that a log says of users, items and interactions.

    What only people read (titles, counts, source) does not matter, nor does the way in which ids are stored, nor
    `shared_clock`, which says what may be done with the times.
    """
    names = [[[field.name, *field.values] for field in log.users.fields], log.catalogue.category_names]
    parts = [json.dumps([*names, *(one.ids.tolist() for one in (log.users, log.catalogue))]).encode()]
    for column in (log.items, log.timestamps, log.labels, log.offsets, log.users.profile, log.catalogue.categories):
        values = b"" if column is None else np.ascontiguousarray(column).tobytes()
        parts += [str(None if column is None else column.shape).encode(), values]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)  # so that no two logs run together to one text
    return digest.hexdigest()


def _log(arrays: dict[str, np.ndarray], words: dict[str, Any]) -> InteractionLog:
    return InteractionLog(
        items=arrays["items"],
        timestamps=arrays["timestamps"],
        labels=arrays.get("labels"),
        offsets=arrays["offsets"],
        users=Users(
            arrays["user_ids"],
            arrays["profile"],
            tuple(ProfileField(name, tuple(values)) for name, values in words["fields"]),
        ),
        catalogue=Catalogue(
            arrays["item_ids"], arrays["categories"], tuple(words["category_names"]), tuple(words["titles"])
        ),
        counts=words["counts"],
        source=words["source"],
        shared_clock=clock_of(words),
    )

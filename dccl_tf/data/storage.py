"""A prepared log as one `.npz` file: arrays and JSON, no pickle, so that reading a file never runs code."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users

FORMAT = 1
_ARRAYS = ("items", "timestamps", "labels", "offsets")


def save_log(log: InteractionLog, path: str | Path) -> Path:
    """Writes a log; a kill leaves the old file or the new one.

    Args:
      log: all of it, users and catalogue too.
      path: of the file; its folder is made, and `.npz` is added where it is missing.

    Returns:
      The file's path.
    """
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
    }
    arrays = {name: getattr(log, name) for name in _ARRAYS if getattr(log, name) is not None}
    arrays |= {"user_ids": log.users.ids, "profile": log.users.profile}
    arrays |= {"item_ids": log.catalogue.ids, "categories": log.catalogue.categories}
    arrays["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        with unfinished.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def read_log(path: str | Path) -> InteractionLog:
    """Reads what `save_log` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file, a damaged one or one of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        words = json.loads(arrays["words"].tobytes())
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise ValueError(
            f"{path}: expected a log that prepare_data wrote, got {type(error).__name__}: {error}"
        ) from error
    if words.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {words.get('format')}; prepare the data again")
    return InteractionLog(
        **{name: arrays.get(name) for name in _ARRAYS},
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
    )

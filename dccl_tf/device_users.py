"""Whose device is whose: from device ids, which say nothing, to the users of a log.

A phone's id is random, and a user's number in a log changes when the log grows. So a team keeps a table of device ids
and its own ids of users, and vectors find their users by it whenever a log is loaded.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from absl import logging

from dccl_tf.data.columns import ids
from dccl_tf.data.schema import Users
from dccl_tf.data.table_files import TableFile
from dccl_tf.real_devices import device_id
from dccl_tf.vectors import UploadedVectors

COLUMNS = ("device_id", "user")


def read_device_users(path: str | Path) -> dict[str, str]:
    """Device id to user id, from a CSV(.gz), TSV(.gz) or Parquet file with the columns device_id and user.

    Raises:
      OSError: the file cannot be read.
      ValueError: what is wrong with file, line and column; a device of several users too.
    """
    file = TableFile(path, COLUMNS)
    pairs = pd.DataFrame({name: ids(file[name], "text") for name in COLUMNS}).drop_duplicates()
    twice = pairs["device_id"].duplicated()
    if twice.any():
        file["device_id"].refuse(int(pairs.index[twice][0]), "one user a device")
    return dict(zip(pairs["device_id"], pairs["user"], strict=True))


def of_users(uploaded: UploadedVectors, owners: Mapping[str, str], users: Users) -> UploadedVectors:
    """The vectors under the names by which trainers know the users of a log (`real_devices.device_id`).

    Of a user's several devices the one that trained on most samples speaks; devices of nobody in the log are left out.
    Numbers of uploads count on one device alone, so with several they are 0, and between bundles the newer one speaks.

    Args:
      uploaded: vectors under the ids of phones.
      owners: device id to user id.
      users: of the log.
    """
    number = {str(one): position for position, one in enumerate(users.ids.tolist())}
    of = [number.get(owners.get(name)) for name in uploaded.device_ids]
    best = {of[place]: place for place in np.argsort(uploaded.samples, kind="stable") if of[place] is not None}
    strangers = sum(one is None for one in of)
    logging.info(
        "Of %d devices %d belong to nobody in the log, and %d to a user who has another with more samples",
        len(of), strangers, len(of) - strangers - len(best),
    )  # fmt: skip
    names = sorted((device_id(user), place) for user, place in best.items())
    chosen = np.array([place for _, place in names], np.int64)
    found = {key: value[chosen] for key, value in vars(uploaded).items() if key != "device_ids"}
    devices = Counter(owners.values())
    alone = np.array([devices[owners[uploaded.device_ids[place]]] == 1 for place in chosen], bool)
    found["sequences"] = np.where(alone, found["sequences"], 0)
    return UploadedVectors(device_ids=[name for name, _ in names], **found)

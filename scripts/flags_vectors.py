"""The flag that says whose devices are whose, shared by the programs that read uploaded vectors."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from dccl_tf.data.schema import InteractionLog
    from dccl_tf.vectors import UploadedVectors

_DEVICE_USERS = flags.DEFINE_string(
    "device_users",
    None,
    "CSV or Parquet with the columns device_id and user (as in the log), for devices that are not called user-NUMBER.",
)


def newest_vectors(address: str, log: "InteractionLog") -> "Callable[[bytes], UploadedVectors]":
    """From a bundle's identity to each user's newest vector in a store."""
    from dccl_tf.device_users import of_users, read_device_users
    from dccl_tf.vectors import newest_vectors as of_devices

    newest = of_devices(address)
    if _DEVICE_USERS.value is None:
        return newest
    owners = read_device_users(_DEVICE_USERS.value)
    return lambda bundle: of_users(newest(bundle), owners, log.users)

"""Which release a device is offered: pure functions of the releases and the device's id."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

ACTIVE = "active"
HALTED = "halted"  # whoever has it keeps it, nobody else is offered it
ROLLED_BACK = "rolled_back"  # nobody is offered it, so whoever has it is offered the one before
STATES = (ACTIVE, HALTED, ROLLED_BACK)


@dataclass(frozen=True)
class Release:
    """A bundle on its way to devices."""

    number: int  # grows
    bundle: bytes  # identity, 32 bytes
    percent: float  # of all devices, 0 to 100
    state: str  # one of STATES
    sizes: dict[str, int]  # bytes of the stored file by content coding: identity, and what else is smaller
    published_at: float  # seconds since 1970
    changed_at: float


def place(device_id: str, bundle: bytes) -> float:
    """Where a device stands among all devices for a bundle: uniform in [0, 100), and the same for ever.

    For each bundle in another order, so that not the same devices are always the first. A device that is below a
    percentage is below every larger one: widening a rollout takes no bundle away.
    """
    digest = hashlib.sha256(bundle + device_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") * (100.0 / 2**64)


def offered(newest_first: Iterable[Release], device_id: str | None, holding: bytes | None = None) -> Release | None:
    """The newest release that is for a device; None if none is.

    Args:
      newest_first: releases.
      device_id: the device; None for one that does not say: what all devices are offered.
      holding: identity of the bundle that the device has, if it says so.
    """
    for release in newest_first:
        if release.state == HALTED and release.bundle == holding:
            return release
        if release.state == ACTIVE and (
            release.percent >= 100.0 or (device_id is not None and place(device_id, release.bundle) < release.percent)
        ):
            return release
    return None

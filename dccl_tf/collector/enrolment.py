"""Devices register, at a bounded pace, and change their keys. Functions that take many at once, each a transaction."""

import hmac
import secrets
import time
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError

from dccl_tf.vectors import VectorStore, devices
from dccl_tf.vectors.tables import device_id_error
from protos import dccl_pb2
from protos.signing import KEY_BYTES, verify_key_change

ID_BYTES = 16  # of an id that the collector chooses


class Pace:
    """So many a second, and after a quiet time a rush of ten seconds' worth at once."""

    RUSH_SECONDS = 10.0

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._spare, self._at = per_second * self.RUSH_SECONDS, clock()

    def wait(self) -> float:
        """0 if one may go now, which is then counted; else the seconds until one may."""
        now = self._clock()
        most = self._per_second * self.RUSH_SECONDS
        self._spare, self._at = min(most, self._spare + (now - self._at) * self._per_second), now
        if self._spare < 1.0:
            return (1.0 - self._spare) / self._per_second
        self._spare -= 1.0
        return 0.0


def enrol(store: VectorStore, wanted: Sequence[str]) -> list[dccl_pb2.Credentials | None]:
    """New devices with their keys; None for an id that is taken, whose key its owner alone may know.

    Args:
      store: of devices.
      wanted: valid device ids; an empty one asks for any.
    """
    names = [name or secrets.token_hex(ID_BYTES) for name in wanted]
    with store.begin() as connection:
        fresh, _ = devices.register(connection, store.vault, dict.fromkeys(names))
    keys = [fresh.pop(name, None) for name in names]  # asked for twice at the same time: one gets it
    return [key and dccl_pb2.Credentials(device_id=name, key=key) for name, key in zip(names, keys, strict=True)]


def change_keys(store: VectorStore, bodies: Sequence[bytes]) -> list[dccl_pb2.Receipt]:
    """Changes the keys of devices, each as a serialised `SignedKeyChange` asks.

    A change that was made is answered DUPLICATE when it comes again, since its answer may have been lost on the way:
    who knows the present key may hear that it is the present one.
    """
    changes = [_parse(body) for body in bodies]
    names = {change.device_id for _, change, error in changes if not error}
    receipts = []
    with store.begin() as connection:
        known = devices.histories(connection, store.vault, names)
        for signed, change, error in changes:
            device = known.get(change.device_id)
            if error:
                receipts.append(_rejected(dccl_pb2.MALFORMED, error))
            elif device is None:
                receipts.append(_rejected(dccl_pb2.UNKNOWN_DEVICE, "device_id: not registered"))
            elif verify_key_change(signed, device.key):
                devices.set_key(connection, store.vault, change.device_id, change.new_key)
                device.key = change.new_key
                receipts.append(dccl_pb2.Receipt(status=dccl_pb2.Receipt.ACCEPTED))
            elif hmac.compare_digest(change.new_key, device.key):
                receipts.append(dccl_pb2.Receipt(status=dccl_pb2.Receipt.DUPLICATE))
            else:
                receipts.append(_rejected(dccl_pb2.BAD_MAC, "mac: does not belong to this device's key"))
    return receipts


def _parse(body: bytes) -> tuple[dccl_pb2.SignedKeyChange, dccl_pb2.KeyChange, str | None]:
    signed, change = dccl_pb2.SignedKeyChange(), dccl_pb2.KeyChange()
    try:
        signed.ParseFromString(body)
        change.ParseFromString(signed.change)
    except (DecodeError, UnicodeDecodeError):
        return signed, dccl_pb2.KeyChange(), f"body: expected a SignedKeyChange, got {len(body)} other bytes"
    if error := device_id_error(change.device_id):
        return signed, change, error
    if len(change.new_key) != KEY_BYTES:
        return signed, change, f"new_key: expected {KEY_BYTES} bytes, got {len(change.new_key)}"
    return signed, change, None


def _rejected(reason: int, detail: str) -> dccl_pb2.Receipt:
    return dccl_pb2.Receipt(status=dccl_pb2.Receipt.REJECTED, reason=reason, detail=detail)

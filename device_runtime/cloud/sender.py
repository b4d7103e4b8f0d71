"""A device's side of uploading: makes the signed message, queues it, and sends what waits."""

import hashlib
from contextlib import suppress
from dataclasses import replace

from google.protobuf.message import DecodeError

from device_runtime.cloud.delivery import Delivery, Retries, deliver, verdict_of
from device_runtime.cloud.privacy import UploadNoise
from device_runtime.cloud.transport import HttpTransport, Transport
from device_runtime.cloud.upload import upload_message
from device_runtime.errors import InputError, StateError
from device_runtime.log.outbox import QUEUED, SUPERSEDED, Queued
from device_runtime.state.device_state import DeviceState
from device_runtime.state.folder import StateFolder
from protos import dccl_pb2
from protos.signing import sign

_CHANGING = "a change of the device's key has no answer yet; change_key(...) asks for it again"
_EXACT = "it was made without noise, which every upload has by now; it is not sent"


class Sender:
    """The uploads of one device."""

    def __init__(self, folder: StateFolder, device_id: str, key: bytes | None, noise: UploadNoise | None) -> None:
        self._folder, self._device_id, self._key, self._noise = folder, device_id, key, noise

    @property
    def has_key(self) -> bool:
        return self._key is not None

    @property
    def newest_has_noise(self) -> bool | None:
        """Whether noise was added to the newest upload; None if none is remembered, or it cannot be read."""
        return next(map(_has_noise, self._folder.outbox.newest(1)), None)

    def queue(self, state: DeviceState) -> tuple[Queued, DeviceState]:
        """The upload of a state, queued unless it is already, and the state with its number, which is stored.

        An upload is made once of one vector: asked again, the answer is the same message, with the same noise.

        Raises:
          StateError: there is no key, or the vector has not been trained in this bundle.
          StorageError: it cannot be written.
        """
        key = self._require_key()
        if not state.samples:
            raise StateError("upload: the vector has not been trained in this bundle; call personalize() first")
        source = upload_message(state, self._device_id).SerializeToString(deterministic=True)
        digest = hashlib.sha256(b"\0".join([source, key, repr(self._noise).encode()])).digest()
        for newest in self._folder.outbox.newest(1):
            if newest.digest == digest:
                return newest, state
        sequence = self._folder.sequence + 1
        state = replace(state, sequence=sequence)
        self._folder.save(state)  # first: no number is used twice
        self._folder.save_sequence(sequence)
        upload = upload_message(state, self._device_id, self._noise)
        upload.sequence = sequence
        return self._folder.outbox.add(sequence, state.bundle, upload.SerializeToString(), digest), state

    def body(self, upload: Queued) -> bytes:
        """The bytes to send: a serialised SignedUpload."""
        return self._signed(upload.content)

    def acknowledge(self, receipt: bytes) -> str:
        """See `Device.acknowledge`."""
        for one in self._folder.outbox.waiting():
            verdict = verdict_of(receipt, one.sequence)
            if verdict is not None and verdict.sequence:
                self._folder.outbox.settle(one.sequence, verdict.status, verdict.detail)
                self._folder.events.add("upload", sequence=one.sequence, status=verdict.status, detail=verdict.detail)
                return verdict.status
        raise InputError("receipt: expected a serialised dccl.Receipt of an upload that waits, got another message")

    def send(self, to: str | Transport, retries: Retries | None = None) -> list[Delivery]:
        """Sends all that waits, but with noise no upload that has none; see `delivery.deliver`."""
        self._require_key()
        transport = HttpTransport(to) if isinstance(to, str) else to
        withdrawn = [] if self._noise is None else self._withdraw_exact()
        if self._folder.identity.is_changing_key:  # an upload under the wrong key would be rejected for good
            waiting = [Delivery(one.sequence, QUEUED, _CHANGING, 0, 0, 0) for one in self._folder.outbox.waiting()[:1]]
        else:
            waiting = deliver(self._folder.outbox, self._signed, transport, retries)
        deliveries = withdrawn + waiting
        for delivery in deliveries:
            self._folder.events.add("upload", **delivery.to_dict())
        return deliveries

    def _withdraw_exact(self) -> list[Delivery]:
        """Takes the uploads without noise out of the queue, such as those of the bundle before."""
        exact = [one.sequence for one in self._folder.outbox.waiting() if not _has_noise(one)]
        for sequence in exact:
            self._folder.outbox.settle(sequence, SUPERSEDED, _EXACT)
        return [Delivery(sequence, SUPERSEDED, _EXACT, 0, 0, 0) for sequence in exact]

    def _signed(self, content: bytes) -> bytes:
        return sign(content, self._require_key())

    def _require_key(self) -> bytes:
        if self._key is None:
            raise StateError("upload: this device has no key; open it once with key= from the cloud's registration")
        return self._key


def _has_noise(upload: Queued) -> bool | None:
    """Whether noise was added to an upload; None if it cannot be read."""
    with suppress(DecodeError):
        return not dccl_pb2.VectorUpload.FromString(upload.content).HasField("evidence")
    return None

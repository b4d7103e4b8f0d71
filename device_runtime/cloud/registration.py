"""A device registers with the collector, keeps the id and key that it gets, and changes the key (docs/protocol.md)."""

import json
from contextlib import closing
from pathlib import Path

from google.protobuf.message import DecodeError

from device_runtime.cloud.delivery import verdict_of
from device_runtime.cloud.transport import CONTENT_TYPE, Answer, HttpTransport
from device_runtime.errors import RegistrationError, StateError
from device_runtime.log.outbox import REJECTED
from device_runtime.state.folder import StateFolder
from device_runtime.state.identity import Identity, check_device_id, is_id
from protos import dccl_pb2
from protos.signing import KEY_BYTES, sign_key_change

PATH = "/v1/devices"
_PATH_OF_CHANGES = "/v1/devices:changeKey"
_TAKEN = (
    "; if a registration of this very device broke off, its key is lost: register again with or_new_id (log and vector "
    "stay), or with another id"
)


def register(
    state: str | Path,
    url: str,
    device_id: str | None = None,
    token: str | None = None,
    timeout: float = 10.0,
    insecure: bool = False,
    or_new_id: bool = False,
) -> str:
    """Gets a key for the device of a state folder and stores it there; `Device.open` then finds it.

    Before or after the device's first opening, while it is not open. A device that has a key keeps it, and nobody is
    asked.

    Args:
      state: the device's folder; made if missing.
      url: the collector's address, https://... or of this machine itself; without a path, the path is `/v1/devices`.
      device_id: opaque, 1 to 128 printable characters; None: the folder's, or else one that the collector chooses.
      token: the app's enrolment token, where the collector wants one.
      timeout: seconds without a byte after which the attempt has failed.
      insecure: allows http:// to other machines; the key then travels in the clear.
      or_new_id: where the id is taken, such as by a registration of this very device whose answer was lost, the device
        gets one that the collector chooses. Log and vector stay.

    Returns:
      The device's id.

    Raises:
      InputError: an argument is not as above.
      RegistrationError: no answer came, or the collector refuses; nothing was stored.
      StateError: the folder is in use, damaged, or of a device with another id.
      StorageError: the folder cannot be written.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = HttpTransport(url, timeout, headers, insecure, PATH)
    check_device_id(device_id)
    with closing(StateFolder(state)) as folder:
        identity = folder.identity
        if identity.key(None) is not None:
            return identity.identify(device_id)
        wanted = identity.identify(device_id) if identity.device_id else device_id or ""
        answer = _asked_for_credentials(transport, wanted)
        if answer.status == 409 and wanted and or_new_id:
            wanted = ""
            answer = _asked_for_credentials(transport, wanted)
        credentials = _credentials(answer, wanted, transport.url)
        identity.rename(credentials.device_id)
        identity.key(credentials.key)
        return credentials.device_id


def change_key(state: str | Path, url: str, timeout: float = 10.0, insecure: bool = False) -> None:
    """Replaces the key of a device by a new one that nobody else has seen, once the collector says that it counts.

    If no answer comes, both keys are kept, the device sends no uploads, and the next call asks for the same change
    again.

    Args:
      state: the folder of a device with a key, which is not open.
      url: the collector's address, as for `register`; without a path, the path is `/v1/devices:changeKey`.
      timeout: seconds without a byte after which the attempt has failed.
      insecure: allows http:// to other machines; the key then travels in the clear.

    Raises:
      InputError: an argument is not as above.
      RegistrationError: no answer came; or the collector refuses, and the key stays as it is.
      StateError: there is no key, or the folder is in use or damaged.
      StorageError: the folder cannot be written.
    """
    transport = HttpTransport(url, timeout, insecure=insecure, path=_PATH_OF_CHANGES)
    if Identity(Path(state)).key(None) is None:  # before an opening, which would make the folder
        raise StateError(f"key: expected a device with a key, and {state} has none; register it first")
    with closing(StateFolder(state)) as folder:
        identity = folder.identity
        key = identity.key(None)
        change = dccl_pb2.KeyChange(device_id=identity.identify(None), new_key=identity.next_key())
        answer = _asked(transport, sign_key_change(change, key))
        verdict = verdict_of(answer.body, 0) if answer.status == 200 and answer.content_type == CONTENT_TYPE else None
        if verdict is None:
            raise RegistrationError(
                f"{transport.url}: expected a receipt, got {_refusal(answer)}; change the key again"
            )
        if verdict.status == REJECTED:
            identity.drop_key_change()
            raise RegistrationError(
                f"{transport.url}: the key stays as it is ({verdict.detail}); if uploads are refused too, let the "
                f"collector forget the device, remove device.key from {folder.path} and register again"
            )
        identity.finish_key_change()


def _asked_for_credentials(transport: HttpTransport, device_id: str) -> Answer:
    return _asked(transport, dccl_pb2.Registration(device_id=device_id).SerializeToString())


def _credentials(answer: Answer, device_id: str, url: str) -> dccl_pb2.Credentials:
    """What the collector gives to the device of an id, or of whatever id if that is empty."""
    if answer.status != 201 or answer.content_type != CONTENT_TYPE:
        raise RegistrationError(f"{url}: expected credentials, got {_refusal(answer)}")
    credentials = dccl_pb2.Credentials()
    try:
        credentials.ParseFromString(answer.body)
    except (DecodeError, UnicodeDecodeError):
        credentials.Clear()
    as_wanted = is_id(credentials.device_id) and device_id in ("", credentials.device_id)
    if len(credentials.key) != KEY_BYTES or not as_wanted:
        raise RegistrationError(f"{url}: expected credentials, got {len(answer.body)} other bytes")
    return credentials


def _asked(transport: HttpTransport, body: bytes) -> Answer:
    try:
        return transport.post(body)
    except OSError as error:
        raise RegistrationError(f"{transport.url}: no answer ({error}); call again later") from error


def _refusal(answer: Answer) -> str:
    """What an answer that is not the one hoped for says."""
    try:
        detail = json.loads(answer.body)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = ""
    taken = _TAKEN * (answer.status == 409)
    later = "" if answer.retry_after is None else f"; call again in {answer.retry_after:.0f} s"
    return f"HTTP {answer.status}{f' ({detail})' if detail else ''}{taken}{later}"

"""A device registers with the collector and keeps the id and key that it gets (docs/protocol.md, "The collector")."""

import json
from contextlib import closing
from pathlib import Path

from google.protobuf.message import DecodeError

from device_runtime.cloud.transport import CONTENT_TYPE, Answer, HttpTransport
from device_runtime.errors import InputError, RegistrationError
from device_runtime.state.folder import StateFolder, check_device_id
from protos import dccl_pb2
from protos.signing import KEY_BYTES

PATH = "/v1/devices"
_TAKEN = (
    "; if a registration of this very device broke off, its key is lost: remove device.id from its state folder, where "
    "log and vector stay, or give another id, and register again"
)


def register(
    state: str | Path,
    url: str,
    device_id: str | None = None,
    token: str | None = None,
    timeout: float = 10.0,
    insecure: bool = False,
) -> str:
    """Gets a key for the device of a state folder and stores it there; `Device.open` then finds it.

    Once for each device, before or after its first opening, while it is not open.

    Args:
      state: the device's folder; made if missing.
      url: the collector's address, https://... or of this machine itself; without a path, the path is `/v1/devices`.
      device_id: opaque, 1 to 128 printable characters; None: the folder's, or else one that the collector chooses.
      token: the app's enrolment token, where the collector wants one.
      timeout: seconds without a byte after which the attempt has failed.
      insecure: allows http:// to other machines; the key then travels in the clear.

    Returns:
      The device's id.

    Raises:
      InputError: the device has a key already, or an argument is not as above.
      RegistrationError: no answer came, or the collector refuses; nothing was stored.
      StateError: the folder is in use, damaged, or of a device with another id.
      StorageError: the folder cannot be written.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = HttpTransport(url, timeout, headers, insecure, PATH)
    check_device_id(device_id)
    with closing(StateFolder(state)) as folder:
        if folder.key(None) is not None:
            raise InputError(f"state: expected a device without a key, and {folder.path} has one; nothing to do")
        wanted = folder.identify(device_id) if folder.device_id else device_id or ""
        credentials = _asked(transport, wanted)
        folder.identify(credentials.device_id)
        folder.key(credentials.key)
        return credentials.device_id


def _asked(transport: HttpTransport, device_id: str) -> dccl_pb2.Credentials:
    try:
        answer = transport.post(dccl_pb2.Registration(device_id=device_id).SerializeToString())
    except OSError as error:
        raise RegistrationError(f"{transport.url}: no answer ({error}); call again later") from error
    if answer.status != 201 or answer.content_type != CONTENT_TYPE:
        raise RegistrationError(f"{transport.url}: expected credentials, got {_refusal(answer)}")
    credentials = dccl_pb2.Credentials()
    try:
        credentials.ParseFromString(answer.body)
    except (DecodeError, UnicodeDecodeError):
        credentials.Clear()
    if len(credentials.key) != KEY_BYTES or device_id not in ("", credentials.device_id):
        raise RegistrationError(f"{transport.url}: expected credentials, got {len(answer.body)} other bytes")
    return credentials


def _refusal(answer: Answer) -> str:
    """What an answer that is no credentials says."""
    try:
        detail = json.loads(answer.body)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = ""
    taken = _TAKEN * (answer.status == 409)
    later = "" if answer.retry_after is None else f"; call again in {answer.retry_after:.0f} s"
    return f"HTTP {answer.status}{f' ({detail})' if detail else ''}{taken}{later}"

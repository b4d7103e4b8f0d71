"""A bundle from the collector, gone on with where a connection broke off (docs/protocol.md, "The collector")."""

import glob
import http.client
import re
import string
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from device_runtime.bundle.bundle import Bundle
from device_runtime.cloud.transport import checked_address, opener
from device_runtime.errors import BundleError, DownloadError, InputError, StorageError
from device_runtime.state.files import move_file, remove_file

PATH = "/v1/bundle"
LARGEST = 1 << 30  # bytes of a bundle
_CHUNK = 64 * 1024
_PROBLEM = "application/problem+json"  # how a collector says no
_PLAIN = " " + string.punctuation.replace("%", "")  # beside letters and digits: as it is in the header
_HEX = re.compile("[0-9a-f]{64}")


def fetch_bundle(
    url: str,
    path: str | Path,
    device_id: str | None = None,
    holding: bytes = b"",
    timeout: float = 10.0,
    insecure: bool = False,
    refused: Mapping[bytes, str] | None = None,
) -> Path | None:
    """Downloads the newest bundle that the cloud has for a device; `Device.upgrade` then verifies and takes it.

    One attempt: what has arrived when a connection breaks stays beside `path`, and the next call goes on from there.

    Args:
      url: the collector's address, https://... or of this machine itself; without a path, the path is `/v1/bundle`.
        Redirects are not followed.
      path: the zip file to write, whole or not at all.
      device_id: decides whether this device is among the first of a staged rollout; without it only what is for all.
      holding: identity of the bundle in use.
      timeout: seconds without a byte after which the attempt has failed.
      insecure: allows http:// to other machines.
      refused: bundles that are not to be downloaded, by identity, and why: `Device.refused`.

    Returns:
      `path`; None if `holding` is the newest one, or there is none yet.

    Raises:
      InputError: the address or an argument is not as above.
      BundleError: what is offered is one of `refused`, or what came is not the bundle that was offered.
      DownloadError: no answer, another answer, or the connection broke off; call again to go on.
      StorageError: `path` cannot be written.
    """
    address, path = checked_address(url, PATH, insecure), Path(path)
    if not isinstance(holding, bytes) or len(holding) not in (0, 32):
        raise InputError(f"holding: expected the 32 bytes of a bundle's identity or none, got {holding!r}")
    headers = {"Dccl-Device-Id": urllib.parse.quote(device_id, safe=_PLAIN)} if device_id else {}
    if holding:
        headers["If-None-Match"] = f'"{holding.hex()}"'
    begun = _begun(path)
    if begun:
        headers |= {"Range": f"bytes={begun.stat().st_size}-", "If-Range": f'"{_identity(begun)}"'}
    try:
        request = urllib.request.Request(address, headers=headers)
        with opener(address).open(request, timeout=timeout) as answer:
            part = _receive(answer, path, begun, refused or {})
    except urllib.error.HTTPError as error:
        with error:
            none_yet = error.code == 404 and error.headers.get_content_type() == _PROBLEM
            if error.code == 304 or none_yet:
                return None
            if error.code == 404:
                raise DownloadError(f"{address}: expected a collector, got HTTP 404; is this its address?") from error
            begun = begun if error.code == 416 else None
            if begun and not _is_whole(begun, error):
                remove_file(begun)  # no beginning of what is offered now
                begun = None
            if begun is None:
                raise DownloadError(f"{address}: expected a bundle, got HTTP {error.code}; call again later") from error
            part = begun
            _check_wanted(_identity(part), refused or {})
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"{address}: the bundle did not arrive ({error}); call again to go on") from error
    _check_offered(part)
    move_file(part, path)
    return path


def _is_whole(begun: Path, error: urllib.error.HTTPError) -> bool:
    """Whether an answer 416 says that there is no more of the bundle than what has arrived."""
    return error.headers.get("Content-Range") == f"bytes */{begun.stat().st_size}"


def _receive(answer: http.client.HTTPResponse, path: Path, begun: Path | None, refused: Mapping[bytes, str]) -> Path:
    """Writes the body to the file of its bundle; returns that file, whole."""
    identity = answer.headers.get("ETag", "").strip('"')
    if not _HEX.fullmatch(identity):
        raise DownloadError(f"ETag: expected a bundle's identity, got {identity!r}; is this a collector's address?")
    _check_wanted(identity, refused)
    part = path.with_name(f"{path.name}.{identity}.part")
    goes_on = answer.status == 206 and part == begun
    if answer.status != 200 and not goes_on:
        raise DownloadError(f"{path.name}: expected HTTP 200, got {answer.status}; call again later")
    for other in _parts(path):
        if other != part:  # of a bundle that is no longer the newest
            remove_file(other)
    size = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
    try:
        file = part.open("ab" if goes_on else "wb")
    except OSError as error:
        raise StorageError(f"{part}: cannot be written ({error.strerror})") from error
    try:
        with file:
            arrived = _copy(answer, file)
    except DownloadError:  # there is too much of it to go on
        remove_file(part)
        raise
    if size is not None and arrived != size:
        raise DownloadError(
            f"{path.name}: the connection broke off after {arrived} of {size} bytes; call again to go on"
        )
    return part


def _copy(answer: http.client.HTTPResponse, file: BinaryIO) -> int:
    """Bytes written."""
    arrived = 0
    while chunk := answer.read(_CHUNK):
        try:
            file.write(chunk)
        except OSError as error:
            raise StorageError(f"{file.name}: cannot be written ({error.strerror})") from error
        arrived += len(chunk)
        if file.tell() > LARGEST:
            raise DownloadError(
                f"{file.name}: expected a bundle of at most {LARGEST} bytes; is this a collector's address?"
            )
    return arrived


def _check_wanted(identity: str, refused: Mapping[bytes, str]) -> None:
    if (reason := refused.get(bytes.fromhex(identity))) is not None:
        raise BundleError(reason)


def _check_offered(part: Path) -> None:
    """Raises BundleError unless a file that has arrived is the bundle of its ETag; it is then gone."""
    try:
        got = Bundle.identify(part).hex()
        if got != _identity(part):
            raise BundleError(f"bundle: expected {_identity(part)} as its ETag says, got {got}; fetch it again")
    except BundleError:
        remove_file(part)
        raise


def _begun(path: Path) -> Path | None:
    """The newest unfinished download to `path`."""
    return max(_parts(path), key=lambda part: part.stat().st_mtime, default=None)


def _parts(path: Path) -> list[Path]:
    found = path.parent.glob(f"{glob.escape(path.name)}.*.part")
    return [part for part in found if _HEX.fullmatch(_identity(part))]


def _identity(part: Path) -> str:
    return part.name.split(".")[-2]

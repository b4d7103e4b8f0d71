"""What devices fetch: the newest bundle that is for them, whole or in ranges, plain or compressed."""

from collections.abc import Iterable
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dccl_tf.collector import negotiation
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.problems import Problem
from dccl_tf.collector.rollout import Release, offered
from dccl_tf.vectors.tables import IDENTITY_BYTES, device_id_error

DEVICE = "Dccl-Device-Id"
FOR_EVER = "public, max-age=31536000, immutable"


async def newest(request: Request) -> Response:
    """The bundle for the device that the header names; without one, what all devices are offered."""
    collector: Collector = request.app.state.collector
    device_id = request.headers.get(DEVICE)
    if device_id is not None:
        device_id = unquote(device_id)
        if error := device_id_error(device_id):
            raise Problem(400, f"{DEVICE}: {error}")
    holding = _identity(next(iter(negotiation.tags(request.headers.get("if-none-match"))), ""))
    release = offered(await collector.newest_releases(), device_id, holding)
    if release is None:
        raise Problem(404, "bundle: none has been published for this device")
    headers = {"Cache-Control": "no-cache", "Content-Location": f"/v1/bundles/{release.bundle.hex()}"}
    return await _file(request, release, headers | {"Vary": f"{DEVICE}, Accept-Encoding"})


async def by_identity(request: Request) -> Response:
    """A bundle by its identity, for caches on the way: it never changes."""
    identity = _identity(request.path_params["identity"])
    for release in await request.app.state.collector.newest_releases():
        if release.bundle == identity:
            return await _file(request, release, {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"})
    raise Problem(404, f"bundle: {request.path_params['identity'][:64]} was never published")


async def _file(request: Request, release: Release, headers: dict[str, str]) -> Response:
    """Answers with the file of a release, part of it, or that the device has it."""
    coding, wanted = _coding_and_range(request, release)
    size = release.sizes[coding]
    headers |= {"ETag": f'"{_tag(release, coding)}"', "Accept-Ranges": "bytes", "Dccl-Bundle": release.bundle.hex()}
    if _has(request.headers.get("if-none-match"), (_tag(release, coding) for coding in release.sizes)):
        return Response(None, 304, headers)
    if coding != "identity":
        headers["Content-Encoding"] = coding
    try:
        part = negotiation.byte_range(wanted, size)
    except negotiation.UnsatisfiableRange as error:
        raise Problem(416, str(error), {"Content-Range": f"bytes */{size}"}) from error
    first, count = part or (0, size)
    if part:
        headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{size}"
    headers["Content-Length"] = str(count)
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(None, status, headers, "application/zip")
    try:
        pieces = await run_in_threadpool(request.app.state.collector.files.read, release.bundle, coding, first, count)
    except OSError as error:
        detail = f"bundle {release.bundle.hex()}: its file cannot be read ({type(error).__name__}); publish it again"
        raise Problem(503, detail, {"Retry-After": "60"}) from error
    return StreamingResponse(pieces, status, headers, "application/zip")


def _coding_and_range(request: Request, release: Release) -> tuple[str, str | None]:
    """The content coding to answer in, and the Range header if it counts.

    A part of a compressed file is of use to that client alone that has the part before it, and says so by If-Range;
    whoever asks for a range without it means the plain file.
    """
    negotiated = negotiation.coding(request.headers.get("accept-encoding"), release.sizes)
    wanted, condition = request.headers.get("range"), request.headers.get("if-range")
    if wanted is None:
        return negotiated, None
    if condition is None:
        return "identity", wanted
    begun = [coding for coding in release.sizes if _tag(release, coding) in negotiation.tags(condition)]
    return (begun[0], wanted) if begun else (negotiated, None)


def _has(if_none_match: str | None, tags: Iterable[str]) -> bool:
    given = set(negotiation.tags(if_none_match))
    return "*" in given or not given.isdisjoint(tags)


def _tag(release: Release, coding: str) -> str:
    """Of a file: the bundle's identity, and the coding if there is one."""
    return release.bundle.hex() + ("" if coding == "identity" else f"-{coding}")


def _identity(text: str) -> bytes | None:
    """The identity in an entity tag or a path."""
    try:
        identity = bytes.fromhex(text.partition("-")[0])
    except ValueError:
        return None
    return identity if len(identity) == IDENTITY_BYTES else None


ROUTES = [
    Route("/v1/bundle", newest, methods=["GET"]),
    Route("/v1/bundles/{identity}", by_identity, methods=["GET"]),
]

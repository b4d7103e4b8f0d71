"""What operators ask, in JSON and with their token: publish, roll out, halt, roll back, look."""

import base64
import json
import tempfile
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dccl_tf.collector import bodies
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.problems import Problem
from dccl_tf.collector.rollout import Release
from dccl_tf.vectors.quarantine import Quarantined
from device_runtime import BundleError

BUNDLE_PATIENCE = 20  # times as long as another body may take
MOST_QUARANTINED = 1000  # in one answer
SMALL_BYTES = 4096


async def publish(request: Request) -> Response:
    """A zipped bundle in the body becomes the newest release, for `percent` of devices; or, of one that is known, the
    files that are gone come back, and its share stays unless `percent` is given."""
    collector, query = _operator(request), request.query_params
    percent = _number(query["percent"], "percent") if "percent" in query else None
    bodies.expect_type(request, "application/zip")
    settings = collector.settings
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        await bodies.read_to_file(request, file, settings.bundle_bytes, BUNDLE_PATIENCE * settings.body_seconds)
        file.flush()
        try:
            release = await run_in_threadpool(collector.publish, file.name, percent)
        except BundleError as error:
            raise Problem(422, str(error).replace(file.name, "bundle")) from error
        except ValueError as error:
            raise Problem(409 if "before" in str(error) else 422, str(error)) from error
    return JSONResponse(release_json(release), 201)


async def list_releases(request: Request) -> Response:
    """All releases, newest first."""
    collector = _operator(request)
    found = await run_in_threadpool(collector.releases.newest_first)
    return JSONResponse({"bundles": [release_json(release) for release in found]})


async def change_release(request: Request) -> Response:
    """Sets `percent`, `state`, or both."""
    collector = _operator(request)
    change = await _json_object(request, {"percent": (int, float), "state": (str,)})
    try:
        identity = bytes.fromhex(request.path_params["identity"])
        release = await run_in_threadpool(collector.change_release, identity, **change)
    except LookupError as error:
        raise Problem(404, str(error)) from error
    except ValueError as error:
        raise Problem(422, str(error)) from error
    return JSONResponse(release_json(release))


async def quarantine(request: Request) -> Response:
    """Rejected uploads, newest first, and how many there ever were of each reason."""
    collector, query = _operator(request), request.query_params
    limit = _integer(query.get("limit", "100"), "limit", 1, MOST_QUARANTINED)
    before = _integer(query["before"], "before", 0, 2**63 - 1) if "before" in query else None
    try:
        found = await run_in_threadpool(collector.store.quarantined, limit, query.get("reason"), before)
    except ValueError as error:
        raise Problem(422, str(error)) from error
    counts = await run_in_threadpool(collector.store.counts_by_reason)
    return JSONResponse({"counts": counts, "uploads": [quarantined_json(one) for one in found]})


async def statistics(request: Request) -> Response:
    """Devices, vectors by bundle, rejections by reason."""
    collector = _operator(request)
    return JSONResponse(await run_in_threadpool(collector.store.statistics))


async def forget_device(request: Request) -> Response:
    """Removes a device, its key and its vectors."""
    collector, device_id = _operator(request), request.path_params["device_id"]
    if not await collector.write(collector.store.forget_device, device_id):
        raise Problem(404, "device_id: not registered")
    collector.log.info("device forgotten", device_id=device_id)
    return Response(None, 204)


def release_json(release: Release) -> dict[str, Any]:
    """A release as operators see it."""
    return asdict(release) | {"bundle": release.bundle.hex()}


def quarantined_json(one: Quarantined) -> dict[str, Any]:
    """A rejected upload as operators see it, its bytes in base64."""
    return asdict(one) | {"body": base64.b64encode(one.body).decode()}


def _operator(request: Request) -> Collector:
    collector: Collector = request.app.state.collector
    collector.operator.expect(request)
    return collector


async def _json_object(request: Request, kinds: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    bodies.expect_type(request, "application/json")
    body = await bodies.read(request, SMALL_BYTES, request.app.state.collector.settings.body_seconds)
    names = " and ".join(kinds)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"body: expected a JSON object with {names}, got something else ({error})") from error
    if not isinstance(given, dict) or not given or set(given) - set(kinds):
        raise Problem(422, f"body: expected a JSON object with {names}, or one of them")
    for name, value in given.items():
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise Problem(422, f"{name}: expected {' or '.join(kind.__name__ for kind in kinds[name])}")
    return given


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Problem(422, f"{name}: expected a number, got {text}") from error


def _integer(text: str, name: str, least: int, most: int) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) < 20 and least <= int(text) <= most):
        raise Problem(422, f"{name}: expected a whole number from {least} to {most}, got {text}")
    return int(text)


ROUTES = [
    Route("/v1/operator/bundles", publish, methods=["POST"]),
    Route("/v1/operator/bundles", list_releases, methods=["GET"]),
    Route("/v1/operator/bundles/{identity}", change_release, methods=["PATCH"]),
    Route("/v1/operator/quarantine", quarantine, methods=["GET"]),
    Route("/v1/operator/statistics", statistics, methods=["GET"]),
    Route("/v1/operator/devices/{device_id:path}", forget_device, methods=["DELETE"]),
]

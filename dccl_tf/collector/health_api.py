"""What those who watch a service ask: is it alive, is it ready, what does it count, how is it called."""

import asyncio
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dccl_tf.collector import openapi
from dccl_tf.collector.bundle_files import MissingFileError
from dccl_tf.collector.collector import Collector

READY_SECONDS = 5.0  # for the database and the bundles to answer
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def alive(request: Request) -> Response:
    """200 while the process answers."""
    return PlainTextResponse("ok")


async def ready(request: Request) -> Response:
    """200 if database and storage answer and what devices are offered is there, else 503; says what is not."""
    collector: Collector = request.app.state.collector
    checks = {"store": collector.store.check, "bundles": collector.files.check, "releases": collector.check_releases}
    answers = await asyncio.gather(*(_answers(check) for check in checks.values()))
    found = dict(zip(checks, answers, strict=True))
    good = all(answer == "ok" for answer in answers)
    return JSONResponse(found, 200 if good else 503, None if good else {"Retry-After": "5"})


async def metrics(request: Request) -> Response:
    """Counters in Prometheus's text format, for operators."""
    collector: Collector = request.app.state.collector
    collector.operator.expect(request)
    return Response(collector.metrics.text(), 200, {"Content-Type": PROMETHEUS})


async def description(request: Request) -> Response:
    """The OpenAPI description of all this."""
    return JSONResponse(openapi.DESCRIPTION)


async def _answers(check: Callable[[], None]) -> str:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await run_in_threadpool(check)
    except TimeoutError:
        return "no answer"
    except MissingFileError as error:
        return str(error)
    except Exception as error:  # whatever a database driver or a storage raises
        return type(error).__name__
    return "ok"


ROUTES = [
    Route("/healthz", alive, methods=["GET"]),
    Route("/readyz", ready, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
    Route("/openapi.json", description, methods=["GET"]),
]

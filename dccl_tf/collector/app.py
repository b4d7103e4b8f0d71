"""The ASGI application: the routes of the modules beside it, errors as problems, every request counted."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sql
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dccl_tf.collector import bundle_api, device_api, health_api, operator_api, problems
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.group_commit import Busy


def application(collector: Collector, log_requests: bool = False) -> Starlette:
    """The application of an open collector, which it closes when it ends.

    Args:
      collector: to serve.
      log_requests: whether each request is a line of the log.

    Raises:
      ValueError: a secret is missing that devices' keys are sealed under.
    """
    collector.store.check_secrets()  # here: an operator's commands need no keys, and may be the way out

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        pruning = asyncio.create_task(collector.prune_for_ever())
        yield
        pruning.cancel()
        collector.close()

    app = Starlette(
        routes=[*device_api.ROUTES, *bundle_api.ROUTES, *operator_api.ROUTES, *health_api.ROUTES],
        middleware=[Middleware(_Count, collector=collector, log_requests=log_requests)],
        exception_handlers={
            problems.Problem: problems.on_problem,
            HTTPException: problems.on_http_exception,
            Busy: problems.on_busy,
            sql.exc.DBAPIError: problems.on_database_error,
            sql.exc.TimeoutError: problems.on_database_error,  # all connections are in use
        },
        lifespan=lifespan,
    )
    app.state.collector = collector
    return app


class _Count:
    """Counts and times each request by the function that answered it; what that raised is a 500."""

    def __init__(self, app: ASGIApp, collector: Collector, log_requests: bool) -> None:
        self._app, self._collector, self._log_requests = app, collector, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception as error:
            self._collector.log.exception("request failed", path=scope["path"], exc_info=error)
            if status:  # too late for another answer
                raise
            status = 500
            await problems.response(500, "the collector failed; its log says why")(scope, receive, send)
        finally:
            seconds = time.perf_counter() - began
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._collector.metrics.request(endpoint, method, status, seconds)
            if self._log_requests:
                self._collector.log.info(
                    "request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 6)
                )


# Counters have labels of these alone: whoever invents methods fills no memory.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

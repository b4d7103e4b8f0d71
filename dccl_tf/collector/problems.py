"""What is not answered as asked: a problem in JSON (RFC 9457), with Retry-After where waiting helps."""

from http import HTTPStatus

import sqlalchemy as sql
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dccl_tf.collector.group_commit import Busy

STORE_AWAY_SECONDS = 5  # until a device should try again when the database does not answer


class Problem(Exception):
    """Ends a request; `detail` tells its sender what was expected, what came, and the way out."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def response(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem as a response."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, "application/problem+json")


async def on_problem(request: Request, problem: Problem) -> Response:
    """Answers a `Problem`."""
    return response(problem.status, problem.detail, problem.headers)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """Answers what the framework refuses: no such path, no such method."""
    return response(error.status_code, error.detail, dict(error.headers or {}))


async def on_busy(request: Request, error: Busy) -> Response:
    """Answers when too much waits for the store."""
    return response(503, str(error), {"Retry-After": str(error.retry_after)})


async def on_database_error(request: Request, error: sql.exc.DBAPIError | sql.exc.TimeoutError) -> Response:
    """Answers when the database is away, full, read-only or overrun: nothing of the request was stored."""
    request.app.state.collector.store_failures.add(str(getattr(error, "orig", error)).strip())
    detail = f"the store does not answer; try again in {STORE_AWAY_SECONDS} s"
    return response(503, detail, {"Retry-After": str(STORE_AWAY_SECONDS)})

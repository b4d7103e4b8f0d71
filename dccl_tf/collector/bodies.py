"""Reading a request's body in bounded memory and time."""

import asyncio
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from dccl_tf.collector.problems import Problem

PROTOBUF = "application/x-protobuf"


def expect_type(request: Request, *types: str) -> None:
    """Raises Problem 415 if the body is of none of these media types."""
    given = request.headers.get("content-type", "")
    if given.split(";")[0].strip().lower() not in types:
        raise Problem(415, f"Content-Type: expected {' or '.join(types)}, got {given or 'none'}")


async def read(request: Request, most: int, seconds: float) -> bytes:
    """The body; of one that is longer than `most` bytes no more than one byte beyond, and the rest is not read.

    Raises:
      Problem: 408, it took longer than `seconds`.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    return bytes(body[: most + 1])
    except TimeoutError as error:
        raise Problem(408, f"body: expected within {seconds:g} s", {"Connection": "close"}) from error
    except ClientDisconnect as error:
        raise Problem(400, "body: the connection ended before it did") from error
    return bytes(body)


async def read_to_file(request: Request, file: BinaryIO, most: int, seconds: float) -> None:
    """Writes the body to a file.

    Raises:
      Problem: 413, it is longer than `most` bytes; 408, it took longer than `seconds`.
    """
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > most:
                    raise Problem(413, f"body: expected at most {most} bytes", {"Connection": "close"})
                await run_in_threadpool(file.write, piece)
    except TimeoutError as error:
        raise Problem(408, f"body: expected within {seconds:g} s", {"Connection": "close"}) from error
    except ClientDisconnect as error:
        raise Problem(400, "body: the connection ended before it did") from error

"""Bodies that are endless or never come, and a store that is too busy."""

import asyncio
import socket
from pathlib import Path

import pytest

from dccl_tf.collector import Collector, Settings, application
from dccl_tf.collector.group_commit import Busy
from tests.collector.devices import PROTOBUF
from tests.collector.served import Served

HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("path", [b"/v1/vectors", b"/v1/vectors:batch", b"/v1/devices"])
def test_a_hundred_megabytes_are_refused_in_bounded_memory(tmp_path, path):
    """C3. The server stops reading, answers 413 and ends the connection; it has held the 8 MiB of a batch at most."""
    with Served(tmp_path) as served:
        memory = Path(f"/proc/{served.process.pid}/statm")
        before = int(memory.read_text().split()[1])
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            sent = _send_until_refused(connection, HEAD % (path, 100_000_000))
            assert connection.recv(12) == b"HTTP/1.1 413"
        assert sent < 40_000_000  # what the sockets and the server's buffer take included
        assert (int(memory.read_text().split()[1]) - before) * 4096 < 40_000_000


def _send_until_refused(connection, head):
    """Sends the head and a body of zeros until something comes back; returns the bytes sent."""
    connection.sendall(head)
    connection.setblocking(False)
    sent, piece = 0, bytes(65536)
    while sent < 100_000_000:
        try:
            connection.recv(1, socket.MSG_PEEK)
            break
        except BlockingIOError:
            pass
        try:
            sent += connection.send(piece)
        except BlockingIOError:
            continue
        except ConnectionError:
            break
    connection.setblocking(True)
    return sent


def test_a_body_that_never_comes_is_not_waited_for(tmp_path):
    collector = Collector.open(Settings(data_dir=tmp_path, body_seconds=0.05))
    answered = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/vectors",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-protobuf")],
    }
    asyncio.run(application(collector)(scope, receive, send))
    assert answered[0]["status"] == 408
    assert b"expected within 0.05 s" in answered[1]["body"]
    collector.close()


def test_a_busy_store_says_when_to_come_back(client, collector, monkeypatch):
    async def busy(*_):
        raise Busy(7)

    monkeypatch.setattr(collector, "receive", busy)
    answer = client.post("/v1/vectors", content=b"", headers=PROTOBUF)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")

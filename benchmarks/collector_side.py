"""Devices that upload to a collector: their signed bodies, and the light connections that carry them."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from dccl_tf.vectors import VectorStore
from protos import dccl_pb2
from protos.signing import sign

K = 32
BUNDLE = bytes(range(32))


@dataclass
class Fleet:
    """Devices that upload in turn, and the number of each one's newest acknowledged upload."""

    keys: dict[str, bytes]
    acknowledged: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        self._names = list(self.keys)
        self._vectors = np.random.default_rng(0).normal(size=(1000, K), scale=0.2).tolist()

    def next_upload(self) -> tuple[str, int, bytes]:
        """Device, number and signed body."""
        turn, place = divmod(self.sent, len(self._names))
        self.sent += 1
        upload = dccl_pb2.VectorUpload(
            schema=1,
            device_id=self._names[place],
            bundle=BUNDLE,
            sequence=turn + 1,
            vector=self._vectors[self.sent % 1000],
            samples=40,
            evidence=dccl_pb2.Evidence(heldout_samples=8, cloud_loss=0.6, personal_loss=0.5, gate=1.0),
        )
        return upload.device_id, turn + 1, sign(upload, self.keys[upload.device_id])

    def note(self, device_id: str, sequence: int, receipt: dccl_pb2.Receipt) -> None:
        """Keeps what was acknowledged."""
        if receipt.status != dccl_pb2.Receipt.ACCEPTED:
            raise RuntimeError(f"upload {sequence} of {device_id} was not accepted: {receipt}")
        self.acknowledged[device_id] = max(sequence, self.acknowledged.get(device_id, 0))

    def lost(self, store: VectorStore) -> int:
        """Devices whose newest acknowledged upload is not what the store holds."""
        found = store.newest(BUNDLE)
        held = dict(zip(found.device_ids, found.sequences.tolist(), strict=True))
        return sum(held.get(name, 0) < sequence for name, sequence in self.acknowledged.items())


class Client(asyncio.Protocol):
    """One connection that posts protobuf bodies, one at a time."""

    @classmethod
    async def connect(cls, port: int) -> "Client":
        """Opens it, to this machine."""
        return (await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port))[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called when the connection stands."""
        self._transport, self._buffer, self._answer = transport, bytearray(), None

    def connection_lost(self, error: Exception | None) -> None:
        """Called when the connection has ended."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Called with what has come."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lines = bytes(self._buffer[:head]).lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        if len(self._buffer) < head + 4 + length:
            return
        body = bytes(self._buffer[head + 4 :])
        self._buffer.clear()
        if b" 200 " not in lines[0]:
            self._answer.set_exception(RuntimeError(f"{lines[0].decode()}: {body[:200]!r}"))
        else:
            self._answer.set_result(body)

    async def post(self, path: bytes, body: bytes) -> bytes:
        """The answer's body."""
        self._answer = asyncio.get_running_loop().create_future()
        head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n" % path
        self._transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return await self._answer

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

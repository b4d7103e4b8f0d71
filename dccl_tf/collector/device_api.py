"""What devices ask: to register, to change a key, to upload."""

import math

from google.protobuf.message import DecodeError, Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dccl_tf.collector import bodies
from dccl_tf.collector.bodies import PROTOBUF
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.group_commit import Busy
from dccl_tf.collector.problems import Problem
from dccl_tf.vectors.tables import device_id_error
from protos import dccl_pb2

SMALL_BYTES = 4096  # of a registration or a change of keys


async def register(request: Request) -> Response:
    """A `Registration` to `Credentials`."""
    collector: Collector = request.app.state.collector
    if collector.enrolment_token is not None:
        collector.enrolment_token.expect(request)
    registration = _parsed(dccl_pb2.Registration(), await _body(request, SMALL_BYTES))
    if registration.device_id and (error := device_id_error(registration.device_id)):
        raise Problem(422, error)
    if wait := math.ceil(collector.enrolment_pace.wait()):
        raise Problem(429, f"too many devices register; try again in {wait} s", {"Retry-After": str(wait)})
    credentials = await collector.enrol(registration.device_id)
    if credentials is None:
        raise Problem(409, "device_id: taken; leave it out to get a new one")
    return _answer(credentials, 201, {"Cache-Control": "no-store"})


async def change_key(request: Request) -> Response:
    """A `SignedKeyChange` to a `Receipt`."""
    return _answer(await request.app.state.collector.change_key(await _body(request, SMALL_BYTES)))


async def upload(request: Request) -> Response:
    """A `SignedUpload` to a `Receipt`; whatever the body is, it is judged and the answer says how."""
    collector: Collector = request.app.state.collector
    bodies.expect_type(request, PROTOBUF)
    body = await bodies.read(request, collector.settings.limits.body_bytes, collector.settings.body_seconds)
    receipt = (await collector.receive([body]))[0]
    if receipt.reason == dccl_pb2.TOO_LARGE:  # the rest of it was not read
        return _answer(receipt, 413, {"Connection": "close"})
    return _answer(receipt)


async def upload_batch(request: Request) -> Response:
    """An `UploadBatch` to a `ReceiptBatch`."""
    collector: Collector = request.app.state.collector
    if collector.batches.locked():
        raise Busy(1)
    async with collector.batches:
        body, most = await _body(request, collector.settings.batch_bytes), collector.settings.batch_uploads
        if _has_more_fields(body, most):  # before they are made: 8 MiB may hold 4 million empty ones
            raise Problem(413, f"uploads: expected at most {most} in a batch, got more")
        batch = _parsed(dccl_pb2.UploadBatch(), body)
        return _answer(dccl_pb2.ReceiptBatch(receipts=await collector.receive(batch.uploads)))


async def _body(request: Request, most: int) -> bytes:
    bodies.expect_type(request, PROTOBUF)
    body = await bodies.read(request, most, request.app.state.collector.settings.body_seconds)
    if len(body) > most:
        raise Problem(413, f"body: expected at most {most} bytes", {"Connection": "close"})
    return body


def _has_more_fields(body: bytes, most: int) -> bool:
    """Whether a message of bytes fields alone, such as an `UploadBatch`, has more than so many; whatever else it is,
    the parser tells."""
    place = fields = 0
    while place < len(body) and fields <= most:
        place, length, shift = place + 1, 0, 0  # past the tag
        while place < len(body) and shift < 64:
            byte = body[place]
            length |= (byte & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if byte < 0x80:
                break
        place += length
        fields += 1
    return fields > most


def _parsed(message: Message, body: bytes) -> Message:
    try:
        message.ParseFromString(body)
    except (DecodeError, UnicodeDecodeError) as error:
        name = message.DESCRIPTOR.full_name
        raise Problem(400, f"body: expected a {name}, got {len(body)} other bytes") from error
    return message


def _answer(message: Message, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(message.SerializeToString(), status, headers, PROTOBUF)


ROUTES = [
    Route("/v1/devices", register, methods=["POST"]),
    Route("/v1/devices:changeKey", change_key, methods=["POST"]),
    Route("/v1/vectors", upload, methods=["POST"]),
    Route("/v1/vectors:batch", upload_batch, methods=["POST"]),
]

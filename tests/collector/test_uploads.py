"""Uploads over HTTP (hostile rows C1 to C3)."""

import asyncio
import pickle

import numpy as np
import pytest

from dccl_tf.collector.device_api import _has_more_fields
from protos import dccl_pb2
from tests.collector.bundles import TINY_K, tiny_identity
from tests.collector.devices import PROTOBUF, SmallDevice, send
from tests.vectors.uploads import verdict


@pytest.fixture
def device(client):
    return SmallDevice.registered(client)


def test_an_acknowledged_upload_is_in_the_store(client, collector, device):
    vector = np.arange(TINY_K, dtype=np.float32) / 8
    receipt = send(client, device.body(sequence=7, vector=vector))
    assert (verdict(receipt), receipt.sequence) == ("ACCEPTED", 7)
    found = collector.store.newest(tiny_identity())
    assert found.device_ids == [device.device_id]
    np.testing.assert_array_equal(found.vectors, [vector])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"vector": [np.nan] * TINY_K}, "NOT_FINITE"),
        ({"vector": [np.inf] * TINY_K}, "NOT_FINITE"),
        ({"vector": [1e6] * TINY_K}, "NORM_TOO_LARGE"),
        ({"vector": [0.1] * (TINY_K + 1)}, "WRONG_LENGTH"),
        ({"bundle": bytes(32)}, "UNKNOWN_BUNDLE"),
        ({"samples": 0}, "NO_SAMPLES"),
        ({"schema": 2}, "UNSUPPORTED_SCHEMA"),
    ],
)
def test_bad_content_is_rejected_and_quarantined_and_others_unharmed(
    client, collector, operator, device, fields, reason
):
    """C1. The answer is a receipt under HTTP 200: the exchange went well, the verdict is inside."""
    other = SmallDevice.registered(client, "other")
    assert verdict(send(client, device.body(**fields))) == reason
    assert verdict(send(client, other.body())) == "ACCEPTED"
    assert collector.store.newest(tiny_identity()).device_ids == ["other"]
    shown = client.get("/v1/operator/quarantine", headers=operator).json()
    assert shown["counts"] == {reason: 1}
    assert [(one["reason"], one["device_id"]) for one in shown["uploads"]] == [(reason, device.device_id)]


def test_replay_forgery_and_strangers(client, collector, device):  # C2
    first = device.body(sequence=2)
    assert [verdict(send(client, first)) for _ in range(2)] == ["ACCEPTED", "DUPLICATE"]
    assert verdict(send(client, device.body(sequence=1))) == "STALE_SEQUENCE"
    assert verdict(send(client, SmallDevice(device.device_id, bytes(32)).body(sequence=3))) == "BAD_MAC"
    assert verdict(send(client, SmallDevice("stranger", bytes(32)).body())) == "UNKNOWN_DEVICE"
    assert len(collector.store.newest(tiny_identity())) == 1


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("body", [pickle.dumps(Bomb()), b"", b"\xff" * 99])
def test_what_is_no_upload_is_malformed(client, body):  # C3
    assert verdict(send(client, body)) == "MALFORMED"


def test_a_cut_upload_is_rejected(client, device):  # C3
    good = device.body()
    assert {verdict(send(client, good[:end])) for end in range(0, len(good), 5)} <= {"MALFORMED", "BAD_MAC"}


def test_a_body_that_is_too_large_is_kept_in_part(client, collector):  # C3
    answer = client.post("/v1/vectors", content=bytes(100_000), headers=PROTOBUF)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert verdict(dccl_pb2.Receipt.FromString(answer.content)) == "TOO_LARGE"
    (kept,) = collector.store.quarantined()
    assert (kept.reason, len(kept.body)) == ("TOO_LARGE", 4096)


def test_uploads_of_a_batch_are_judged_each_on_its_own(client, collector, device):
    uploads = [device.body(), b"noise", bytes(100_000), device.body(sequence=2), device.body()]
    body = dccl_pb2.UploadBatch(uploads=uploads).SerializeToString()
    answer = client.post("/v1/vectors:batch", content=body, headers=PROTOBUF)
    receipts = dccl_pb2.ReceiptBatch.FromString(answer.content).receipts
    assert [verdict(receipt) for receipt in receipts] == [
        "ACCEPTED",
        "MALFORMED",
        "TOO_LARGE",
        "ACCEPTED",
        "STALE_SEQUENCE",
    ]
    assert len(collector.store.newest(tiny_identity())) == 1


def test_an_empty_batch_is_answered_with_none(client):
    answer = client.post("/v1/vectors:batch", content=b"", headers=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_batch_of_too_many_is_refused_whole(client, collector):
    body = dccl_pb2.UploadBatch(uploads=[b"x"] * 10_001).SerializeToString()
    answer = client.post("/v1/vectors:batch", content=body, headers=PROTOBUF)
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "uploads: expected at most 10000 in a batch, got more",
    )
    assert collector.store.counts_by_reason() == {}


def test_no_more_batches_are_read_than_memory_is_for(client, collector):
    collector.batches = asyncio.Semaphore(0)
    answer = client.post("/v1/vectors:batch", content=b"", headers=PROTOBUF)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(("count", "most", "more"), [(0, 0, False), (3, 3, False), (4, 3, True)])
@pytest.mark.parametrize("size", [0, 127, 128, 70_000])  # lengths of one, one, two and three bytes
def test_the_uploads_of_a_batch_are_counted_before_they_are_made(count, most, more, size):
    body = dccl_pb2.UploadBatch(uploads=[b"x" * size] * count).SerializeToString()
    assert _has_more_fields(body, most) is more


def test_a_batch_that_is_none_is_named(client):
    answer = client.post("/v1/vectors:batch", content=b"\xff", headers=PROTOBUF)
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "body: expected a dccl.UploadBatch, got 1 other bytes",
    )


@pytest.mark.parametrize("path", ["/v1/vectors", "/v1/vectors:batch", "/v1/devices", "/v1/devices:changeKey"])
def test_another_media_type_is_named(client, path):
    answer = client.post(path, content=b"{}", headers={"Content-Type": "application/json"})
    expected = "Content-Type: expected application/x-protobuf, got application/json"
    assert (answer.status_code, answer.json()["detail"]) == (415, expected)

"""Uploads from the wire into the store (hostile rows C1 to C3)."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dccl_tf.vectors import Ingest, Limits, VectorStore
from protos import dccl_pb2
from protos.signing import sign

K = 4
BUNDLE = bytes(range(32))
OTHER = bytes(32)


@pytest.fixture
def store(tmp_path):
    store = VectorStore.open(f"sqlite:///{tmp_path / 'vectors.sqlite'}")
    store.register_bundle(BUNDLE, K)
    yield store
    store.close()


def upload(**fields) -> dccl_pb2.VectorUpload:
    standard = {"schema": 1, "device_id": "d1", "bundle": BUNDLE, "sequence": 1, "vector": [0.1, -0.2, 0.3, 0.4],
                "samples": 9}  # fmt: skip
    return dccl_pb2.VectorUpload(**standard | fields)


def body(store, **fields) -> bytes:
    message = upload(**fields)
    return sign(message, store.register_device(message.device_id))


def verdict(receipt: dccl_pb2.Receipt) -> str:
    if receipt.status == dccl_pb2.Receipt.REJECTED:
        return dccl_pb2.Reason.Name(receipt.reason)
    return dccl_pb2.Receipt.Status.Name(receipt.status)


def test_good_upload_is_kept_to_the_bit(store):
    evidence = dccl_pb2.Evidence(heldout_samples=3, cloud_loss=0.5, personal_loss=0.25, gate=1.0)
    assert verdict(Ingest(store).receive(body(store, evidence=evidence))) == "ACCEPTED"
    found = store.newest(BUNDLE)
    assert found.device_ids == ["d1"]
    np.testing.assert_array_equal(found.vectors, np.float32([[0.1, -0.2, 0.3, 0.4]]))
    assert (found.samples[0], found.gates[0], found.cloud_loss[0], found.personal_loss[0]) == (9, 1.0, 0.5, 0.25)


def test_missing_evidence_is_nan(store):
    Ingest(store).receive(body(store))
    assert np.isnan(store.newest(BUNDLE).gates[0])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"vector": [np.nan, 0, 0, 0]}, "NOT_FINITE"),
        ({"vector": [0, 0, 0, np.inf]}, "NOT_FINITE"),
        ({"evidence": dccl_pb2.Evidence(heldout_samples=1, cloud_loss=np.nan)}, "NOT_FINITE"),
        ({"vector": [1e6, 0, 0, 0]}, "NORM_TOO_LARGE"),
        ({"vector": [1.0]}, "WRONG_LENGTH"),
        ({"vector": [0.0] * 600}, "WRONG_LENGTH"),
        ({"vector": []}, "WRONG_LENGTH"),
        ({"bundle": OTHER}, "UNKNOWN_BUNDLE"),
        ({"bundle": b""}, "UNKNOWN_BUNDLE"),
        ({"samples": 0}, "NO_SAMPLES"),
        ({"samples": 2**64 - 1}, "NO_SAMPLES"),
        ({"sequence": 0}, "MALFORMED"),
        ({"sequence": 2**64 - 1}, "MALFORMED"),
        ({"schema": 0}, "UNSUPPORTED_SCHEMA"),
        ({"schema": 99}, "UNSUPPORTED_SCHEMA"),
        ({"device_id": "x" * 129}, "MALFORMED"),
    ],
)
def test_bad_content_is_quarantined_and_the_round_unharmed(store, fields, reason):  # C1
    receipts = Ingest(store).receive_many([body(store, **fields), body(store, device_id="good")])
    assert [verdict(receipt) for receipt in receipts] == [reason, "ACCEPTED"]
    assert store.newest(BUNDLE).device_ids == ["good"]
    assert store.counts_by_reason() == {reason: 1}


def test_the_same_upload_twice_is_one_row(store):  # C2
    ingest, once = Ingest(store), body(store)
    assert [verdict(ingest.receive(once)) for _ in range(3)] == ["ACCEPTED", "DUPLICATE", "DUPLICATE"]
    assert len(store.newest(BUNDLE)) == 1
    assert store.counts_by_reason() == {}


def test_older_or_contradicting_sequence_is_rejected(store):  # C2
    ingest = Ingest(store)
    ingest.receive(body(store, sequence=5))
    assert verdict(ingest.receive(body(store, sequence=4))) == "STALE_SEQUENCE"
    assert verdict(ingest.receive(body(store, sequence=5, samples=10))) == "STALE_SEQUENCE"
    assert verdict(ingest.receive(body(store, sequence=6, samples=11))) == "ACCEPTED"
    assert store.newest(BUNDLE).samples.tolist() == [11]


def test_wrong_mac_and_unknown_device_are_rejected(store):  # C2
    store.register_device("d1")
    assert verdict(Ingest(store).receive(sign(upload(), bytes(32)))) == "BAD_MAC"
    assert verdict(Ingest(store).receive(sign(upload(device_id="nobody"), bytes(32)))) == "UNKNOWN_DEVICE"


def test_a_flipped_bit_anywhere_is_rejected(store):
    ingest, good = Ingest(store), body(store)
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= 1
        assert verdict(ingest.receive(bytes(changed))) not in ("ACCEPTED", "DUPLICATE")
    assert len(store.newest(BUNDLE)) == 0


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_pickle_large_and_cut_bodies_are_rejected(store):  # C3
    ingest, good = Ingest(store), body(store)
    assert verdict(ingest.receive(pickle.dumps(Bomb()))) == "MALFORMED"
    assert verdict(ingest.receive(bytes(100_000_000))) == "TOO_LARGE"
    assert verdict(ingest.receive(b"")) == "MALFORMED"
    for end in range(1, len(good)):
        assert verdict(ingest.receive(good[:end])) not in ("ACCEPTED", "DUPLICATE")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise_and_are_never_accepted(store, noise):  # C3
    assert Ingest(store).receive(noise).status == dccl_pb2.Receipt.REJECTED


def test_quarantine_keeps_only_the_beginning_of_a_body(store, tmp_path):
    Ingest(store, Limits(body_bytes=10)).receive(bytes(5_000_000))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000


def test_keys_stay_and_differ(store):
    keys = store.register_devices(["a", "b"])
    assert keys["a"] != keys["b"]
    assert store.register_device("a") == keys["a"]
    assert len(keys["a"]) == 32


def test_newest_of_another_bundle_is_apart(store):
    store.register_bundle(OTHER, 2)
    ingest = Ingest(store)
    ingest.receive(body(store, sequence=1))
    ingest.receive(body(store, sequence=2, bundle=OTHER, vector=[1, 2]))
    assert store.newest(BUNDLE).vectors.shape == (1, K)
    np.testing.assert_array_equal(store.newest(OTHER).vectors, [[1, 2]])
    assert store.newest(b"none").vectors.shape == (0, 0)


def test_acknowledged_uploads_are_there_after_reopening(tmp_path):
    url = f"sqlite:///{tmp_path / 'v.sqlite'}"
    first = VectorStore.open(url)
    first.register_bundle(BUNDLE, K)
    Ingest(first).receive(body(first))
    second = VectorStore.open(url)  # while the first is still open
    assert second.newest(BUNDLE).device_ids == ["d1"]
    first.close()
    second.close()

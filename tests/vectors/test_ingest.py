"""Uploads from the wire into the store (hostile rows C1 to C3)."""

import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dccl_tf.vectors import Ingest, Limits, VectorStore, population
from protos import dccl_pb2
from protos.signing import sign
from tests.vectors.uploads import BUNDLE, OTHER, body, upload, verdict

ROOT = Path(__file__).resolve().parents[2]


def test_good_upload_is_kept_to_the_bit(store):
    evidence = dccl_pb2.Evidence(heldout_samples=3, cloud_loss=0.5, personal_loss=0.25, gate=1.0)
    receipt = Ingest(store).receive(body(store, sequence=7, evidence=evidence))
    assert (verdict(receipt), receipt.sequence) == ("ACCEPTED", 7)
    found = store.newest(BUNDLE)
    assert found.device_ids == ["d1"]
    np.testing.assert_array_equal(found.vectors, np.float32([[0.1, -0.2, 0.3, 0.4]]))
    assert (found.samples[0], found.gates[0], found.cloud_loss[0], found.personal_loss[0]) == (9, 1.0, 0.5, 0.25)


def test_missing_evidence_is_nan(store):
    Ingest(store).receive(body(store))
    found = store.newest(BUNDLE)
    assert np.isnan([found.gates[0], found.cloud_loss[0], found.personal_loss[0]]).all()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"vector": [np.nan, 0, 0, 0]}, "NOT_FINITE"),
        ({"vector": [0, 0, 0, np.inf]}, "NOT_FINITE"),
        ({"evidence": dccl_pb2.Evidence(heldout_samples=1, cloud_loss=np.nan)}, "NOT_FINITE"),
        ({"evidence": dccl_pb2.Evidence(heldout_samples=1, gate=1e30)}, "MALFORMED"),
        ({"evidence": dccl_pb2.Evidence(heldout_samples=1, gate=-1)}, "MALFORMED"),
        ({"evidence": dccl_pb2.Evidence(heldout_samples=1, personal_loss=-1)}, "MALFORMED"),
        ({"vector": [1e6, 0, 0, 0]}, "NORM_TOO_LARGE"),
        ({"vector": [3e38] * 4}, "NORM_TOO_LARGE"),
        ({"vector": [60, 60, 60, 0]}, "NORM_TOO_LARGE"),  # 104
        ({"vector": [1.0]}, "WRONG_LENGTH"),
        ({"vector": [0.0] * 600}, "WRONG_LENGTH"),
        ({"vector": []}, "WRONG_LENGTH"),
        ({"bundle": OTHER}, "UNKNOWN_BUNDLE"),
        ({"bundle": b""}, "UNKNOWN_BUNDLE"),
        ({"bundle": bytes(50_000)}, "UNKNOWN_BUNDLE"),
        ({"samples": 0}, "NO_SAMPLES"),
        ({"samples": 2**64 - 1}, "NO_SAMPLES"),
        ({"sequence": 0}, "MALFORMED"),
        ({"sequence": 2**64 - 1}, "MALFORMED"),
        ({"schema": 0}, "UNSUPPORTED_SCHEMA"),
        ({"schema": 99}, "UNSUPPORTED_SCHEMA"),
    ],
)
def test_bad_content_is_quarantined_and_the_round_unharmed(store, fields, reason):  # C1
    receipts = Ingest(store).receive_many([body(store, **fields), body(store, device_id="good")])
    assert [verdict(receipt) for receipt in receipts] == [reason, "ACCEPTED"]
    assert store.newest(BUNDLE).device_ids == ["good"]
    assert store.counts_by_reason() == {reason: 1}


@pytest.mark.parametrize("device_id", ["", "x" * 129, "a\0b", "a\nb"])
def test_impossible_device_ids_are_malformed(store, device_id):
    assert verdict(Ingest(store).receive(sign(upload(device_id=device_id), bytes(32)))) == "MALFORMED"


def test_norm_up_to_the_limit_is_accepted(store):
    limits = Limits(norm=5.0)
    assert verdict(Ingest(store, limits).receive(body(store, vector=[3, 4, 0, 0]))) == "ACCEPTED"


def test_a_rejected_upload_uses_up_no_sequence_number(store):
    ingest = Ingest(store)
    assert verdict(ingest.receive(body(store, sequence=1, samples=0))) == "NO_SAMPLES"
    assert verdict(ingest.receive(body(store, sequence=1))) == "ACCEPTED"


def test_the_same_upload_twice_is_one_row(store):  # C2
    ingest, once = Ingest(store), body(store)
    assert [verdict(ingest.receive(once)) for _ in range(3)] == ["ACCEPTED", "DUPLICATE", "DUPLICATE"]
    assert len(store.newest(BUNDLE)) == 1
    assert store.counts_by_reason() == {}


def test_the_same_upload_twice_in_one_batch_is_one_row(store):  # C2
    receipts = Ingest(store).receive_many([body(store)] * 2)
    assert [verdict(receipt) for receipt in receipts] == ["ACCEPTED", "DUPLICATE"]


def test_an_upload_that_a_newer_one_replaced_is_stale(store):  # C2
    """Its vector is gone, and so is the hash that would tell it from a forgery."""
    ingest, first = Ingest(store), body(store, sequence=1)
    ingest.receive_many([first, body(store, sequence=2)])
    assert verdict(ingest.receive(first)) == "STALE_SEQUENCE"


def test_an_upload_for_another_bundle_leaves_the_earlier_one_a_duplicate(store):  # C2
    store.register_bundle(OTHER, 2)
    ingest, first = Ingest(store), body(store, sequence=1)
    ingest.receive_many([first, body(store, sequence=2, bundle=OTHER, vector=[1, 2])])
    assert verdict(ingest.receive(first)) == "DUPLICATE"


def test_bytes_around_the_signed_ones_do_not_make_an_upload_new(store):  # C2
    """Field 15 is unknown to a SignedUpload: on its way anybody could add it, and the MAC would still be right."""
    ingest, good = Ingest(store), body(store)
    assert verdict(ingest.receive(good + bytes([15 << 3, 1]))) == "ACCEPTED"
    assert verdict(ingest.receive(good)) == "DUPLICATE"


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


def test_another_devices_key_is_no_key(store):  # C2
    store.register_device("d1")
    assert verdict(Ingest(store).receive(sign(upload(), store.register_device("d2")))) == "BAD_MAC"


def test_a_flipped_bit_anywhere_is_rejected(store):
    ingest, good = Ingest(store), body(store)
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= 1
        assert verdict(ingest.receive(changed)) not in ("ACCEPTED", "DUPLICATE")
    assert len(store.newest(BUNDLE)) == 0


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_a_pickle_is_rejected_and_not_executed(store):  # C3
    assert verdict(Ingest(store).receive(pickle.dumps(Bomb()))) == "MALFORMED"


def test_a_cut_body_is_rejected(store):  # C3
    ingest, good = Ingest(store), body(store)
    receipts = ingest.receive_many(good[:end] for end in range(len(good)))
    assert {verdict(receipt) for receipt in receipts} <= {"MALFORMED", "BAD_MAC"}


def test_a_large_body_is_rejected_in_little_memory(store):  # C3
    ingest, large = Ingest(store), bytes(100_000_000)
    tracemalloc.start()
    assert verdict(ingest.receive(large)) == "TOO_LARGE"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    (kept,) = store.quarantined()
    assert (len(kept.body), kept.body_bytes) == (4096, 100_000_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise_and_are_never_accepted(store, noise):  # C3
    assert Ingest(store).receive(noise).status == dccl_pb2.Receipt.REJECTED


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_a_device_id_that_is_no_text_harms_no_other_upload(implementation):  # C3
    """The protobuf wheel without compiled code reports such text by an error of its own; which of the two a process
    has is settled at import."""
    program = """
from dccl_tf.vectors import Ingest, VectorStore
from protos import dccl_pb2
from tests.vectors.uploads import BUNDLE, K, body, verdict
store = VectorStore.open("sqlite://")
store.register_bundle(BUNDLE, K)
no_text = dccl_pb2.SignedUpload(upload=bytes([2 << 3 | 2, 2, 0xFF, 0xFE])).SerializeToString()
print(*(verdict(receipt) for receipt in Ingest(store).receive_many([body(store), no_text])), len(store.newest(BUNDLE)))
"""
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("ACCEPTED MALFORMED 1\n", "")


def test_quarantine_forgets_the_oldest_of_a_reason_beyond_its_bytes(store):
    """A body of 5 bytes counts 5 + 256: 800 bytes hold three. What was rejected for another reason stays."""
    ingest = Ingest(store, Limits(quarantine_bytes=800))
    ingest.receive_many([body(store, schema=9)] + [b"nois%d" % number for number in range(5)])
    assert [(one.reason, one.body) for one in store.quarantined()][:3] == [
        ("MALFORMED", b"nois4"),
        ("MALFORMED", b"nois3"),
        ("MALFORMED", b"nois2"),
    ]
    assert [one.reason for one in store.quarantined()][3:] == ["UNSUPPORTED_SCHEMA"]


def test_counts_go_on_when_quarantine_forgets(store):
    ingest = Ingest(store, Limits(quarantine_bytes=1))
    ingest.receive_many([b"noise"] * 5)
    ingest.receive(b"noise")
    assert (store.counts_by_reason(), store.quarantined()) == ({"MALFORMED": 6}, [])


def test_quarantine_tells_what_came_and_turns_pages(store):
    Ingest(store).receive_many([b"one", bytes(100_000), body(store, samples=0)])
    newest, large = store.quarantined(limit=2)
    assert (newest.reason, newest.device_id, newest.detail) == (
        "NO_SAMPLES",
        "d1",
        f"samples: expected 1 to {2**63 - 1}, got 0",
    )
    assert (large.reason, large.device_id, large.body, large.body_bytes) == ("TOO_LARGE", None, bytes(4096), 100_000)
    assert [one.body for one in store.quarantined(before=large.number)] == [b"one"]
    assert [one.body for one in store.quarantined(reason="MALFORMED")] == [b"one"]


def fleet(store, count, norm=1.0, first=0):
    """Uploads of as many devices, with vectors of one norm."""
    names = [f"f{number}" for number in range(first, first + count)]
    keys = store.register_devices(names)
    return [sign(upload(device_id=name, vector=[0, norm, 0, 0]), keys[name]) for name in names]


def test_norm_is_bounded_by_the_population_once_there_is_one(store):
    """Ten devices with norm 1: from then on 4 is the longest, whatever the absolute bound."""
    ingest = Ingest(store, Limits(population=10))
    ingest.receive_many(fleet(store, 9))
    assert verdict(ingest.receive(body(store, sequence=1, vector=[50, 0, 0, 0]))) == "ACCEPTED"
    assert verdict(ingest.receive(body(store, sequence=2, vector=[4.1, 0, 0, 0]))) == "NORM_TOO_LARGE"
    assert verdict(ingest.receive(body(store, sequence=2, vector=[3.9, 0, 0, 0]))) == "ACCEPTED"


def test_a_new_process_knows_the_population_from_the_store(store):
    limits = Limits(population=10)
    Ingest(store, limits).receive_many(fleet(store, 10))
    assert verdict(Ingest(store, limits).receive(body(store, vector=[4.1, 0, 0, 0]))) == "NORM_TOO_LARGE"


def test_a_new_process_knows_the_devices_heard_last(store, monkeypatch):
    """Of norms 1 to 10 the last five are known, and the next device takes the place of the one heard before them."""
    monkeypatch.setattr(population, "VOTES", 5)
    monkeypatch.setattr(population, "REFRESH", 1)
    ingest = Ingest(store, Limits(norm_ratio=100.0))
    for number in range(1, 11):
        ingest.receive_many(fleet(store, 1, norm=number, first=99 - number))
    with store.begin() as connection:
        known = population.Population.of_bundle(connection, BUNDLE, enough=5)
    assert known.median == 8.0  # of 6 to 10
    known.add("next", 100.0)
    assert known.median == 9.0  # of 7 to 10 and 100


def test_one_device_has_one_vote(store):
    """Twenty uploads of norm 50 by one device leave the median of ten others at 1."""
    ingest = Ingest(store, Limits(population=10))
    loud = [body(store, sequence=number, vector=[50, 0, 0, 0]) for number in range(1, 21)]
    ingest.receive_many(fleet(store, 9))
    ingest.receive_many(loud)
    ingest.receive_many(fleet(store, 1, first=9))
    assert verdict(ingest.receive(body(store, device_id="next", vector=[4.1, 0, 0, 0]))) == "NORM_TOO_LARGE"


@pytest.mark.parametrize("wrong", ["text", 5, None])
def test_what_is_not_bytes_is_named(store, wrong):
    with pytest.raises(TypeError, match=f"body: expected bytes, got {type(wrong).__name__}"):
        Ingest(store).receive_many([body(store), wrong])
    assert len(store.newest(BUNDLE)) == 0


def test_bodies_may_be_made_with_the_store_while_they_are_read(store):
    names = ["a", "b"]
    Ingest(store).receive_many(body(store, device_id=name) for name in names)
    assert store.newest(BUNDLE).device_ids == names


@pytest.mark.parametrize("limit", ["body_bytes", "norm", "norm_ratio", "population", "quarantine_bytes"])
def test_limits_are_above_zero(limit):
    with pytest.raises(ValueError, match=f"{limit}: expected more than 0, got 0"):
        Limits(**{limit: 0})


def test_six_thousand_uploads_in_one_transaction(url):
    """Registered, received and read: more than one query takes."""
    store = VectorStore.open(url)
    store.register_bundle(BUNDLE, 16)
    keys = store.register_devices(f"d{number:04}" for number in range(6000))
    bodies = [sign(upload(device_id=name, vector=[0.1] * 16), key) for name, key in keys.items()]
    receipts = Ingest(store).receive_many(bodies)
    assert {verdict(receipt) for receipt in receipts} == {"ACCEPTED"}
    assert store.newest(BUNDLE).device_ids == list(keys)
    store.close()

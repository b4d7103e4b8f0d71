"""The trip, whole, on MovieLens-100K: a cloud model goes out to 200 devices, comes back as 200 vectors, and goes out
again, a better one, while the server and the trainer are killed and some devices lie."""

import hashlib
from collections import Counter

import numpy as np
import tensorflow as tf
from tensorflow.core.util import event_pb2

from dccl_tf.evaluate import NextEvaluator
from dccl_tf.metrics import paired_estimate
from protos import dccl_pb2
from tests.trip.conftest import DEVICES


def test_devices_personalize_on_the_bundle_that_they_fetched(phones, joined, first):
    assert {fact["bundle"] for fact in joined.values()} == {first.bundle.identity.hex()}
    assert not any(fact["fetched_again"] for fact in joined.values())  # the ETag says that they have it
    assert len(joined) == DEVICES
    for phone in phones:  # of n clicks the newest fifth, rounded down, is held out; 4 items are drawn beside the others
        clicks = len(phone["clicks"])
        assert joined[phone["device_id"]]["samples"] == (clicks - clicks // 5) * (1 + 4)


def test_what_was_acknowledged_before_the_kill_is_on_the_disk(joined, sent):
    assert DEVICES / 5 <= len(sent.acknowledged) < DEVICES  # it was killed while others still had to send
    on_disk = dict(zip(sent.on_disk.device_ids, sent.on_disk.vectors, strict=True))
    for name in sent.acknowledged:
        np.testing.assert_array_equal(on_disk[name], np.float32(joined[name]["vector"]))


def test_every_device_gets_through_to_the_new_server(joined, sent, cloud, first, refused):
    deliveries = {name: fact["deliveries"] for name, fact in sent.facts.items()}
    assert {len(one) for one in deliveries.values()} == {1}
    # A duplicate is one whose receipt died with the server.
    statuses = Counter(one[0]["status"] for one in deliveries.values())
    assert statuses["accepted"] + statuses["duplicate"] == DEVICES
    assert max(one[0]["attempts"] for one in deliveries.values()) > 1
    found = cloud.held(first.bundle)
    assert sorted(found.device_ids) == sorted(joined)
    expected = np.float32([joined[name]["vector"] for name in found.device_ids])
    np.testing.assert_array_equal(found.vectors, expected)  # of those who lied later, too


def test_poisoned_and_stale_uploads_are_refused_and_counted(refused, cloud):
    reasons = {
        "poisoned by length": "NORM_TOO_LARGE",
        "poisoned by NaN": "NOT_FINITE",
        "stale number": "STALE_SEQUENCE",
        "stale bundle": "UNKNOWN_BUNDLE",
    }
    assert {receipt.status for receipt in refused.values()} == {dccl_pb2.Receipt.REJECTED}
    assert {name: dccl_pb2.Reason.Name(receipt.reason) for name, receipt in refused.items()} == reasons
    counts = cloud.operator.get("/v1/operator/quarantine").json()["counts"]
    assert counts == dict.fromkeys(reasons.values(), 1)


def test_the_trainer_goes_on_where_it_was_killed(distilled):
    """TensorBoard's newest file tells which epochs the second process trained: those that the first had not saved."""
    newest = max(distilled.events.glob("events*"), key=lambda path: path.stat().st_mtime)
    events = [event_pb2.Event.FromString(one.numpy()) for one in tf.data.TFRecordDataset(str(newest))]
    trained = [event.step for event in events if any(value.tag == "loss" for value in event.summary.value)]
    assert 1 <= distilled.epochs_before < distilled.epochs
    assert trained == list(range(distilled.epochs_before, distilled.epochs))


def test_the_new_bundle_first_reaches_the_tenth_of_devices_that_their_hash_says(tenth, distilled):
    new = distilled.shipped.bundle.identity
    places = {name: int.from_bytes(hashlib.sha256(new + name.encode()).digest()[:8], "big") / 2**64 for name in tenth}
    early = {name for name, fact in tenth.items() if fact["bundle"] == new.hex()}
    assert early == {name for name, place in places.items() if place < 0.1}
    # Of 200 about 20; five standard deviations are sqrt(200 * 0.1 * 0.9) * 5 = 21.
    assert 0 < len(early) <= 41


def test_then_all_others(tenth, everybody, distilled):
    new = distilled.shipped.bundle.identity.hex()
    assert {fact["bundle"] for fact in everybody.values()} == {new}
    early = {name for name, fact in tenth.items() if fact["how"]}
    late = {name for name, fact in everybody.items() if fact["how"]}
    assert late == set(everybody) - early  # whoever had it is told so


def test_vectors_are_rebased_by_the_new_encoder(log, joined, tenth, everybody, distilled):
    """U(theta, u) of the new cloud model, for each device's uploaded theta and profile u."""
    names = sorted(joined)
    upgrades = [tenth[name] if tenth[name]["how"] else everybody[name] for name in names]
    assert {one["how"] for one in upgrades} == {"rebase"}
    users = [int(name.removeprefix("user-")) for name in names]
    theta = np.float32([joined[name]["vector"] for name in names])
    expected = distilled.shipped.model.encoder(theta, log.users.profile[users]).numpy()
    assert np.abs(expected - theta).max(axis=1).min() > 1e-2  # U is more than the identity
    np.testing.assert_allclose([one["vector"] for one in upgrades], expected, atol=1e-5)


def test_upgraded_devices_send_vectors_of_the_new_bundle(tenth, everybody, cloud, distilled):
    upgrades = [fact for fact in (*tenth.values(), *everybody.values()) if fact["how"]]
    assert Counter(status for one in upgrades for status in one["statuses"]) == {"accepted": DEVICES}
    assert sorted(cloud.held(distilled.shipped.bundle).device_ids) == sorted(everybody)


def test_the_new_cloud_model_finds_held_out_clicks_better(log, split, config, first, distilled):
    """Most of the gain is that it has seen newer clicks; what vectors add to that is a study's to say, not a test's."""
    judge = NextEvaluator(log, split.test, config.history_length, seed=config.seed)
    metric = "ndcg@10/neg100"
    before, after = (judge(shipped.model)[metric] for shipped in (first, distilled.shipped))
    gain = paired_estimate(after, before)
    assert gain.low > 0.0, gain  # the 95% interval over users

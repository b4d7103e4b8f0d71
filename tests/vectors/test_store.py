"""Devices, bundles and vectors in the store; crashes and several writers."""

import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql

from dccl_tf.vectors import Ingest, VectorStore
from protos.signing import sign
from tests.vectors.uploads import BUNDLE, OTHER, K, body, upload, verdict

ROOT = Path(__file__).resolve().parents[2]


def test_keys_stay_and_differ(store):
    keys = store.register_devices(["a", "b", "a"])
    assert list(keys) == ["a", "b"]
    assert keys["a"] != keys["b"]
    assert store.register_device("a") == keys["a"]
    assert len(keys["a"]) == 32


def test_more_devices_than_one_query_takes(store):
    names = [f"d{number}" for number in range(1203)]
    keys = store.register_devices(names)
    assert len(set(keys.values())) == 1203
    assert store.register_devices(reversed(names)) == keys


def test_a_given_key_is_kept(store):
    key = bytes(range(32))
    assert store.register_device("a", key) == key
    assert store.register_device("a") == store.register_device("a", key) == key


def test_a_second_key_for_a_device_is_refused(store):
    key = store.register_device("a")
    with pytest.raises(ValueError, match="'a' is registered with another key"):
        store.register_device("a", bytes(32))
    assert store.register_device("a") == key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "device_id: expected 1 to 128 printable characters, got 0"),
        (("x" * 129,), "device_id: .*got 129"),
        (("a\0b",), r"device_id: .*'a\\x00b'"),
        (("a\ud800",), "device_id: "),  # half a character: no database can write it
        (("a", b"short"), "key: expected 32 bytes, got 5"),
    ],
)
def test_device_that_could_never_upload_is_refused(store, arguments, message):
    with pytest.raises(ValueError, match=message):
        store.register_device(*arguments)


def test_a_bundle_registered_again_changes_nothing(store):
    Ingest(store).receive(body(store))
    store.register_bundle(BUNDLE, K)
    assert len(store.newest(BUNDLE)) == 1


@pytest.mark.parametrize(
    ("identity", "length", "message"),
    [
        (BUNDLE, K + 1, "metapatch_length: bundle 0001020304050607 is known with 4, got 5"),
        (b"short", K, "identity: expected 32 bytes, got 5"),
        (OTHER, 0, "metapatch_length: expected at least 1, got 0"),
    ],
)
def test_impossible_bundle_is_refused(store, identity, length, message):
    with pytest.raises(ValueError, match=message):
        store.register_bundle(identity, length)


def test_newest_of_another_bundle_is_apart(store):
    store.register_bundle(OTHER, 2)
    ingest = Ingest(store)
    ingest.receive(body(store, sequence=1))
    ingest.receive(body(store, sequence=2, bundle=OTHER, vector=[1, 2]))
    assert store.newest(BUNDLE).vectors.shape == (1, K)
    np.testing.assert_array_equal(store.newest(OTHER).vectors, [[1, 2]])


def test_rows_belong_together_whatever_the_order_of_arrival(store):
    Ingest(store).receive_many(
        body(store, device_id=name, sequence=sequence, samples=10 * sequence + place, vector=[place, sequence, 0, 0])
        for sequence in (1, 2)
        for place, name in enumerate(["c", "a", "b"])
    )
    found = store.newest(BUNDLE)
    assert found.device_ids == ["a", "b", "c"]
    assert found.samples.tolist() == [21, 22, 20]
    np.testing.assert_array_equal(found.vectors[:, :2], [[1, 2], [2, 2], [0, 2]])


def test_reading_takes_little_memory_beside_what_is_read(store, monkeypatch):
    """A vector of 128 bytes with its numbers and id takes some 250 and is copied once; all rows at once took 820."""
    monkeypatch.setattr("dccl_tf.vectors.store.ROWS_AT_ONCE", 100)
    store.register_bundle(OTHER, 32)
    sent = [upload(device_id=f"d{number}", bundle=OTHER, vector=[0.5] * 32) for number in range(3000)]
    keys = store.register_devices(one.device_id for one in sent)
    Ingest(store).receive_many(sign(one, keys[one.device_id]) for one in sent)
    tracemalloc.start()
    assert len(store.newest(OTHER)) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 700


def test_errors_of_the_database_show_no_values(store):
    query = sql.text("SELECT * FROM missing WHERE vector = :vector")
    with store.reading() as connection, pytest.raises(sql.exc.DBAPIError) as raised:
        connection.execute(query, {"vector": "confidential"})
    assert "FROM missing" in str(raised.value)
    assert "confidential" not in str(raised.value)


def test_unknown_bundle_has_no_vectors(store):
    found = store.newest(b"none")
    assert (len(found), found.vectors.shape) == (0, (0, 0))


def test_known_bundle_without_vectors_has_their_width(store):
    assert store.newest(BUNDLE).vectors.shape == (0, K)


def test_store_in_memory_serves_tests():
    store = VectorStore.open("sqlite://")
    store.register_bundle(BUNDLE, K)
    assert verdict(Ingest(store).receive(body(store))) == "ACCEPTED"
    assert store.newest(BUNDLE).device_ids == ["d1"]
    store.close()


def test_what_is_no_url_is_named():
    with pytest.raises(ValueError, match=r"url: expected one like sqlite:///.*got 'vectors\.sqlite'"):
        VectorStore.open("vectors.sqlite")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"url: cannot open .*missing.*a file's folder must exist"):
        VectorStore.open(f"sqlite:///{tmp_path / 'missing' / 'v.sqlite'}")


def test_file_that_is_no_store_is_named_and_left_alone(tmp_path):
    file = tmp_path / "v.sqlite"
    file.write_text("dear diary, " * 100)
    with pytest.raises(ValueError, match=r"url: cannot open .*not a database"):
        VectorStore.open(f"sqlite:///{file}")
    assert file.read_text() == "dear diary, " * 100


def test_acknowledged_upload_survives_a_kill(url, store):
    """Another process acknowledges an upload and is killed in the middle of a batch: the first is kept, of the batch
    nothing is."""
    program = f"""
import os, signal
from dccl_tf.vectors import Ingest, VectorStore
from tests.vectors.uploads import body, verdict
store = VectorStore.open({url!r})
print(verdict(Ingest(store).receive(body(store))), flush=True)
class Kill(bytes):
    def __len__(self):
        os.kill(os.getpid(), signal.SIGKILL)
Ingest(store).receive_many([body(store, device_id="unacknowledged"), Kill()])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-9, "ACCEPTED\n", "")
    assert store.newest(BUNDLE).device_ids == ["d1"]


def test_a_transaction_that_fails_leaves_nothing(store):
    class Broken(bytes):
        def __len__(self):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        Ingest(store).receive_many([body(store), Broken()])
    assert len(store.newest(BUNDLE)) == 0
    assert verdict(Ingest(store).receive(body(store))) == "ACCEPTED"


def test_several_writers_lose_and_double_nothing(url, store):
    """Four writers send the same 60 uploads in batches at the same time: each is accepted once."""
    bodies = [body(store, device_id=f"d{number}") for number in range(60)]
    start, verdicts = threading.Barrier(4), []

    def write():
        own = VectorStore.open(url)
        start.wait()
        for first in range(0, 60, 10):
            verdicts.extend(verdict(one) for one in Ingest(own).receive_many(bodies[first : first + 10]))
        own.close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (verdicts.count("ACCEPTED"), verdicts.count("DUPLICATE")) == (60, 180)
    assert len(store.newest(BUNDLE)) == 60


def test_several_may_create_a_store_at_once(url):
    start, failures = threading.Barrier(6), []

    def create():
        start.wait()
        try:
            own = VectorStore.open(url)
            own.register_bundle(BUNDLE, K)
            own.close()
        except Exception as error:
            failures.append(error)

    creators = [threading.Thread(target=create) for _ in range(6)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    assert failures == []


def test_opening_waits_for_whoever_makes_the_file(tmp_path):
    path = tmp_path / "vectors.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # not yet in WAL: SQLite refuses the change at once, whatever its timeout
    threading.Timer(0.3, other.close).start()
    VectorStore.open(f"sqlite:///{path}").close()
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_forgotten_device_is_unknown_and_has_no_vectors(store):
    ingest, upload = Ingest(store), body(store)
    ingest.receive(upload)
    assert store.forget_device("d1")
    assert len(store.newest(BUNDLE)) == 0
    assert verdict(ingest.receive(upload)) == "UNKNOWN_DEVICE"
    assert not store.forget_device("d1")


def test_a_forgotten_device_leaves_no_rejected_upload(store):
    ingest = Ingest(store)
    ingest.receive_many([body(store, samples=0), body(store, device_id="d2", samples=0)])
    assert {one.device_id for one in store.quarantined(10)} == {"d1", "d2"}
    store.forget_device("d1")
    assert {one.device_id for one in store.quarantined(10)} == {"d2"}


def test_rubbish_does_not_use_up_the_numbers_of_rejected_uploads(store):
    """2^31 rejected uploads later a good upload is still taken in, and the next rejected one has a longer number."""
    with store.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT setval('quarantine_number_seq', 2147483647)")
        else:
            row = "(2147483647, 'MALFORMED', '', x'00', 1, 1.0, 0)"
            columns = "number, reason, detail, body, body_bytes, received_at, begins_at"
            connection.exec_driver_sql(f"INSERT INTO quarantine ({columns}) VALUES {row}")
    receipts = Ingest(store).receive_many([body(store), b"garbage"])
    assert [verdict(one) for one in receipts] == ["ACCEPTED", "MALFORMED"]
    assert store.quarantined(1)[0].number == 2**31


def test_the_highest_sequence_is_of_devices_of_one_kind_and_remembers_pruned_ones(store):
    def highest():
        return [store.highest_sequence(prefix) for prefix in ("a-", "a-1", "%", "")]

    assert highest() == [0, 0, 0, 0]
    sent = [("a-1", 4), ("a-2", 7), ("b", 9)]
    Ingest(store).receive_many([body(store, device_id=name, sequence=number) for name, number in sent])
    assert highest() == [7, 4, 0, 9]
    assert sum(store.prune(before=time.time() + 1.0)) == 3
    assert highest() == [7, 4, 0, 9]


def test_pruned_vectors_are_gone_and_cannot_come_back(store):
    ingest, first = Ingest(store), body(store, sequence=5)
    ingest.receive_many([first, body(store, device_id="d2")])
    assert list(store.prune(before=0.0)) == []
    assert list(store.prune(before=time.time() + 1.0)) == [2]
    assert len(store.newest(BUNDLE)) == 0
    assert verdict(ingest.receive(first)) == "STALE_SEQUENCE"
    assert verdict(ingest.receive(body(store, sequence=6))) == "ACCEPTED"


def test_pruning_goes_device_by_device_and_spares_what_is_new(store, monkeypatch):
    """Five devices, two at a time; d2's vector is new, and d4's comes in between two steps."""
    monkeypatch.setattr("dccl_tf.vectors.store.DEVICES_AT_ONCE", 2)
    ingest = Ingest(store)
    ingest.receive_many([body(store, device_id=f"d{number}", sequence=5) for number in (0, 1, 3, 4)])
    now = time.time()
    time.sleep(0.01)
    ingest.receive(body(store, device_id="d2"))
    steps = store.prune(before=now)
    assert next(steps) == 2
    assert verdict(ingest.receive(body(store, device_id="d4", sequence=6))) == "ACCEPTED"
    assert list(steps) == [1]
    assert sorted(store.newest(BUNDLE).device_ids) == ["d2", "d4"]
    assert verdict(ingest.receive(body(store, device_id="d3", sequence=5))) == "STALE_SEQUENCE"


@pytest.mark.parametrize("address", ["mysql://host/name", "oracle://host/name"])
def test_another_kind_of_database_is_named(address):
    with pytest.raises(
        ValueError, match=f"url: expected a database of sqlite or postgresql, got {address.split(':')[0]}"
    ):
        VectorStore.open(address)


def test_a_database_that_does_not_run_is_named_without_its_password():
    with pytest.raises(ValueError, match=r"url: cannot open postgresql\+psycopg://dccl:\*\*\*@127\.0\.0\.1:1/x"):
        VectorStore.open("postgresql://dccl:hunter2@127.0.0.1:1/x")

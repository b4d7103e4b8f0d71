"""Devices' keys at rest."""

import stat

import pytest
import sqlalchemy as sql

from dccl_tf.collector import enrolment
from dccl_tf.vectors import Ingest, KeyVault, VectorStore
from dccl_tf.vectors.keys import read_secrets
from dccl_tf.vectors.tables import DEVICES
from tests.vectors.uploads import BUNDLE, K, body, verdict

KEY, OLD, NEW = bytes(range(32)), b"o" * 32, b"n" * 32


def stored_keys(store):
    with store.reading() as connection:
        return {row.device_id: bytes(row.key) for row in connection.execute(sql.select(DEVICES))}


def test_a_sealed_key_opens_and_does_not_show():
    vault = KeyVault([NEW])
    sealed = vault.seal(KEY, "d1")
    assert vault.open(sealed, "d1") == KEY
    assert len(sealed) == 64
    assert KEY not in sealed
    assert vault.seal(KEY, "d1") != sealed  # a nonce of its own each time


def test_keys_cannot_change_places():
    vault = KeyVault([NEW])
    with pytest.raises(ValueError, match="stored key of 'd2' was changed"):
        vault.open(vault.seal(KEY, "d1"), "d2")


def test_without_the_secret_it_is_said_which_is_missing():
    with pytest.raises(ValueError, match=r"sealed under the secret [0-9a-f]{8}, which is not among those given"):
        KeyVault([NEW]).open(KeyVault([OLD]).seal(KEY, "d1"), "d1")


def test_a_sealed_store_holds_no_key_and_takes_uploads(url):
    store = VectorStore.open(url, KeyVault([NEW]))
    store.register_bundle(BUNDLE, K)
    assert verdict(Ingest(store).receive(body(store))) == "ACCEPTED"
    assert store.register_device("d1") not in stored_keys(store)["d1"]
    store.close()


def test_reseal_moves_all_keys_to_the_newest_secret(url):
    """Two devices from before there was a secret, one under the old one."""
    plain, old = VectorStore.open(url), VectorStore.open(url, KeyVault([OLD]))
    keys = plain.register_devices(["a", "b"]) | {"c": old.register_device("c")}
    both = VectorStore.open(url, KeyVault([NEW, OLD]))
    assert both.reseal() == (3, [])
    assert both.reseal() == (0, [])
    new = VectorStore.open(url, KeyVault([NEW]))
    assert new.register_devices("abc") == keys
    for store in (plain, old, both, new):
        store.close()


def test_secrets_file_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "secret"
    made = read_secrets(path)
    assert [len(secret) for secret in made] == [32]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secrets(path) == made
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "not hexadecimal", "abcd\n"])
def test_a_file_of_no_secrets_is_named(tmp_path, content):
    (tmp_path / "secret").write_text(content)
    with pytest.raises(ValueError, match=r"secret: expected .*hexadecimal"):
        read_secrets(tmp_path / "secret")


def test_a_secret_of_another_length_is_named():
    with pytest.raises(ValueError, match="secret: expected 32 bytes, got 5"):
        KeyVault([b"short"])


def damage(store, device_id, change):
    """Whoever can write to the database can do this."""
    key = change(stored_keys(store)[device_id])
    with store.begin() as connection:
        connection.execute(sql.update(DEVICES).where(DEVICES.c.device_id == device_id).values(key=key))


def test_a_secret_that_any_key_needs_is_missed_at_once(store):
    """As after a reseal that ended half-way, with the old line removed: the first device is under the new secret."""
    old, new = (VectorStore(store._engine, KeyVault([secret])) for secret in (OLD, NEW))
    new.register_device("a")
    old.register_devices(["b", "c"])
    with pytest.raises(ValueError, match=r"2 of the devices' keys, that of 'b' among them, are sealed"):
        new.check_secrets()
    VectorStore(store._engine, KeyVault([NEW, OLD])).check_secrets()


def test_plain_keys_need_no_secret(store):
    store.register_device("a")
    VectorStore(store._engine, KeyVault([NEW])).check_secrets()


def test_reseal_skips_and_names_keys_that_cannot_be_opened(store):
    """Of four devices one key was changed, one cut off, and one is of a secret that is not here."""
    VectorStore(store._engine, KeyVault([b"x" * 32])).register_device("d")
    old = VectorStore(store._engine, KeyVault([OLD]))
    keys = old.register_devices("abc")
    damage(store, "a", lambda key: key[:-1] + bytes([key[-1] ^ 1]))
    damage(store, "b", lambda key: key[:10])
    assert VectorStore(store._engine, KeyVault([NEW, OLD])).reseal() == (1, ["a", "b", "d"])
    assert VectorStore(store._engine, KeyVault([NEW])).register_device("c") == keys["c"]


@pytest.mark.parametrize(
    "change", [lambda key: key[:-1] + bytes([key[-1] ^ 1]), lambda key: key[:10], lambda key: b"?" + key[1:]]
)
def test_a_damaged_key_is_taken_and_others_enrol(store, change):
    sealed = VectorStore(store._engine, KeyVault([NEW]))
    sealed.register_device("a")
    damage(sealed, "a", change)
    first, taken, last = enrolment.enrol(sealed, ["new1", "a", "new2"])
    assert taken is None
    assert (first.key, last.key) == tuple(sealed.register_devices(["new1", "new2"]).values())
    with pytest.raises(ValueError, match="key of 'a'"):
        sealed.register_device("a")


@pytest.mark.parametrize("change", [lambda key: key[:-1] + bytes([key[-1] ^ 1]), lambda key: key[:10]])
def test_a_changed_key_harms_no_other_device(store, change):
    """Whoever can write to the database can end a device, and not those whose uploads come with its own."""
    sealed = VectorStore(store._engine, KeyVault([NEW]))
    bodies = [body(sealed, device_id=name) for name in "ab"]
    damage(sealed, "a", change)
    assert [verdict(receipt) for receipt in Ingest(sealed).receive_many(bodies)] == ["UNKNOWN_DEVICE", "ACCEPTED"]


def test_a_missing_secret_is_told_at_once_and_loses_no_upload(store):
    sealed, other = (VectorStore(store._engine, KeyVault([secret])) for secret in (OLD, NEW))
    upload = body(sealed)
    with pytest.raises(ValueError, match="sealed under the secret"):
        other.check_secrets()
    with pytest.raises(ValueError, match="sealed under the secret"):
        Ingest(other).receive(upload)
    sealed.check_secrets()
    assert verdict(Ingest(sealed).receive(upload)) == "ACCEPTED"

"""Devices' keys at rest."""

import stat

import pytest
import sqlalchemy as sql

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
    assert both.reseal() == 3
    assert both.reseal() == 0
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


def test_a_changed_key_harms_no_other_device(store):
    """Whoever can write to the database can end a device, and not those whose uploads come with its own."""
    sealed = VectorStore(store._engine, KeyVault([NEW]))
    bodies = [body(sealed, device_id=name) for name in "ab"]
    with sealed.begin() as connection:
        changed = stored_keys(sealed)["a"][:-1] + b"?"
        connection.execute(sql.update(DEVICES).where(DEVICES.c.device_id == "a").values(key=changed))
    assert [verdict(receipt) for receipt in Ingest(sealed).receive_many(bodies)] == ["UNKNOWN_DEVICE", "ACCEPTED"]


def test_a_missing_secret_is_told_at_once_and_loses_no_upload(store):
    sealed, other = (VectorStore(store._engine, KeyVault([secret])) for secret in (OLD, NEW))
    upload = body(sealed)
    with pytest.raises(ValueError, match="sealed under the secret"):
        other.check_secret()
    with pytest.raises(ValueError, match="sealed under the secret"):
        Ingest(other).receive(upload)
    sealed.check_secret()
    assert verdict(Ingest(sealed).receive(upload)) == "ACCEPTED"

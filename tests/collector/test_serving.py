"""How it may be served: what is refused, TLS, what is imported."""

import datetime
import http.client
import ipaddress
import re
import socket
import ssl
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.testclient import TestClient

from dccl_tf.collector import Collector, Settings, application
from dccl_tf.collector.serving import Address, serve
from dccl_tf.vectors import Ingest
from tests.collector.bundles import TINY_K, tiny_identity
from tests.collector.devices import SmallDevice
from tests.collector.served import ROOT, Served, wait_for


def test_without_a_word_this_machine_alone_can_reach_it():
    assert Address().is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "collector.example.org"])
def test_keys_do_not_travel_in_the_clear(host):
    with pytest.raises(
        ValueError, match=r"host: .* and devices' keys would travel in the clear; give --tls_certificate"
    ):
        Address(host)
    Address(host, behind_proxy=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_known_by_all_its_names(host):
    assert Address(host).is_loopback


def test_registration_is_not_open_to_the_world_by_accident(tmp_path):
    with pytest.raises(
        ValueError, match=r"enrolment_token_file: anybody who reaches 0\.0\.0\.0 could register devices"
    ):
        serve(Settings(data_dir=tmp_path / "c"), Address("0.0.0.0", behind_proxy=True))
    assert not (tmp_path / "c").exists()


def test_a_port_in_use_is_told_before_anything_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"host, port: cannot listen on 127\.0\.0\.1, port {port} \(Addr"):
            serve(Settings(data_dir=tmp_path / "c"), Address(port=port))
    assert not (tmp_path / "c").exists()


def test_a_host_of_another_machine_is_told():
    with pytest.raises(ValueError, match=r"host, port: cannot listen on 192\.0\.2\.1, port 8080 \(Cannot assign"):
        Address("192.0.2.1", behind_proxy=True).listen()
    with pytest.raises(ValueError, match=r"host, port: cannot listen on nowhere\.invalid"):
        Address("nowhere.invalid", behind_proxy=True).listen()


def test_localhost_is_listened_to_at_each_address_that_it_has():
    sockets = Address("localhost", port=0).listen()
    hosts = {one.getsockname()[0] for one in sockets}
    for one in sockets:
        one.close()
    assert "127.0.0.1" in hosts
    assert hosts <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    "setting", ["data_dir", "secret_file", "operator_token_file", "enrolment_token_file", "bundles"]
)
def test_a_path_that_cannot_be_is_named_with_its_setting(tmp_path, setting):
    (tmp_path / "file").write_text("x")
    wrong = tmp_path / "file" / "below"
    settings = Settings(**({"data_dir": tmp_path / "c"} | {setting: str(wrong)}))
    with pytest.raises(
        OSError, match=rf"{setting}: {re.escape(str(wrong))} cannot be read or made \(Not a directory\)"
    ):
        Collector.open(settings)


def test_a_service_without_the_secret_of_a_key_does_not_start_and_commands_work(tmp_path):
    collector = Collector.open(Settings(data_dir=tmp_path))
    collector.store.register_device("d1")
    collector.close()
    (tmp_path / "secret").write_text("ab" * 32)
    collector = Collector.open(Settings(data_dir=tmp_path))
    with pytest.raises(ValueError, match=r"secrets: 1 of the devices' keys, that of 'd1' among them, are sealed under"):
        application(collector)
    assert collector.store.reseal() == (0, ["d1"])
    assert collector.store.forget_device("d1")
    application(collector)
    collector.close()


def test_a_token_that_could_be_guessed_is_named_with_its_setting(tmp_path):
    (tmp_path / "token").write_text("short")
    with pytest.raises(ValueError, match=r"enrolment_token_file: .*token: token: expected at least 16 ASCII"):
        Collector.open(Settings(data_dir=tmp_path / "c", enrolment_token_file=tmp_path / "token"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"port": 70_000}, "port: expected 0 to 65535, got 70000"),
        ({"tls_key": "key.pem"}, "tls_certificate, tls_key: expected both or neither"),
        ({"tls_certificate": "none.pem", "tls_key": "none.pem"}, "tls_certificate: cannot read none.pem"),
        (
            {"tls_certificate": __file__, "tls_key": __file__},
            "tls_certificate, tls_key: expected a certificate and its",
        ),
    ],
)
def test_impossible_addresses_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Address(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"store": "sqlite://"}, "store: expected a database that outlives the process"),
        ({"keep_days": 0.0}, "keep_days: expected more than 0, got 0.0"),
        ({"body_seconds": 0.0}, "body_seconds: expected more than 0, got 0.0"),
        ({"waiting": 10}, "waiting: expected at least batch_uploads .10000., got 10"),
        ({"batch_bytes": 0}, "batch_bytes: expected at least 1, got 0"),
    ],
)
def test_impossible_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Settings(**arguments)


def test_an_unknown_storage_of_bundles_is_named(tmp_path):
    with pytest.raises(ValueError, match="bundles: expected a folder or an fsspec URL, got 'nowhere://x'"):
        serve(Settings(data_dir=tmp_path, bundles="nowhere://x"), Address())


def certificate(folder):
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "collector")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def test_tls(tmp_path):
    certificate(tmp_path)
    files = [f"--tls_certificate={tmp_path / 'cert.pem'}", f"--tls_key={tmp_path / 'key.pem'}"]
    with Served(tmp_path / "c", *files) as served:
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=trusted)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok"
        connection.close()


def test_the_service_imports_no_tensorflow_and_the_store_no_service():
    program = """
import sys
import dccl_tf.vectors
assert not {"starlette", "alembic", "psycopg"} & set(sys.modules)
import dccl_tf.collector, dccl_tf.collector.serving, scripts.serve_cloud
print(sorted({"tensorflow", "keras", "pandas", "fastapi"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_old_vectors_are_pruned_when_asked(tmp_path):
    """A tenth of a second is too old here: what was there before is gone soon after the start."""
    collector = Collector.open(Settings(data_dir=tmp_path, keep_days=0.1 / 86_400))
    store = collector.store
    store.register_bundle(tiny_identity(), TINY_K)
    Ingest(store).receive(SmallDevice("d1", store.register_device("d1")).body())
    assert len(store.newest(tiny_identity())) == 1
    time.sleep(0.11)
    with TestClient(application(collector)):
        wait_for(lambda: len(store.newest(tiny_identity())) == 0)

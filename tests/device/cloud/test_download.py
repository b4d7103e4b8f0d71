"""Bundles over HTTP: whole or not at all, gone on with after a break, and nothing that is not asked for."""

import json
import shutil
from pathlib import Path

import pytest

from device_runtime import Bundle, BundleError, Device, DownloadError, InputError, StorageError, fetch_bundle
from device_runtime.cloud import download
from tests.device.bundles import successor
from tests.device.local_server import LocalServer, reply
from tests.device.test_command_line import run, succeeded

OLD = bytes(range(32))


class Server(LocalServer):
    """Serves a body as the collector does; `cut`: bytes after which the next answer breaks off; `moved`: where
    it sends everybody."""

    def __init__(self, body: bytes, identity: str):
        super().__init__(self._answer)
        self.body, self.identity, self.cut, self.moved, self.seen = body, identity, None, None, []

    def _answer(self, request):
        self.seen.append(dict(request.headers))
        if self.moved:
            return reply(request, 302, {"Location": self.moved})
        tag = f'"{self.identity}"'
        if request.headers.get("If-None-Match") == tag:
            return reply(request, 304, {})
        begin = 0
        if request.headers.get("If-Range") == tag:
            begin = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(self.body):
                return reply(request, 416, {"Content-Range": f"bytes */{len(self.body)}"})
        end, self.cut = self.cut, None
        request.send_response(206 if begin else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(self.body) - begin))
        request.end_headers()
        request.wfile.write(self.body[begin:end])


@pytest.fixture
def server(bundle_path, tmp_path):
    body = Path(shutil.make_archive(str(tmp_path / "served"), "zip", bundle_path)).read_bytes()
    server = Server(body, Bundle.open(bundle_path).identity.hex())
    yield server
    server.close()


def test_bundle_arrives_whole_and_the_device_is_named(server, tmp_path):
    path = fetch_bundle(server.url, tmp_path / "b.zip", "d1", holding=OLD)
    assert Bundle.open(path).identity.hex() == server.identity
    assert server.seen[0]["Dccl-Device-Id"] == "d1"
    assert server.seen[0]["If-None-Match"] == f'"{OLD.hex()}"'


def test_the_bundle_in_use_is_not_sent_again(server, tmp_path):
    assert fetch_bundle(server.url, tmp_path / "b.zip", holding=bytes.fromhex(server.identity)) is None
    assert not (tmp_path / "b.zip").exists()


def test_a_break_is_gone_on_with(server, tmp_path):
    server.cut = 1000
    with pytest.raises(DownloadError, match=f"after 1000 of {len(server.body)} bytes"):
        fetch_bundle(server.url, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()
    assert fetch_bundle(server.url, tmp_path / "b.zip").read_bytes() == server.body
    assert server.seen[1]["Range"] == "bytes=1000-"
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_a_newer_bundle_meanwhile_begins_anew(server, tmp_path, bundle_path):
    server.cut = 1000
    with pytest.raises(DownloadError):
        fetch_bundle(server.url, tmp_path / "b.zip")
    newer = successor(bundle_path, tmp_path / "newer")
    server.identity = Bundle.identify(newer).hex()
    server.body = Path(shutil.make_archive(str(tmp_path / "newer"), "zip", newer)).read_bytes()
    assert fetch_bundle(server.url, tmp_path / "b.zip").read_bytes() == server.body
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_what_arrived_of_a_bundle_that_is_given_up_goes_when_another_begins(server, tmp_path):
    for identity in ("ab" * 32, "cd" * 32):
        server.identity, server.cut = identity, 1000
        with pytest.raises(DownloadError):
            fetch_bundle(server.url, tmp_path / "b.zip")
        assert [path.name for path in tmp_path.glob("*.part")] == [f"b.zip.{identity}.part"]


@pytest.mark.parametrize("more", [0, 7])
def test_what_arrived_whole_before_a_kill_is_used_and_what_is_no_beginning_is_not(server, tmp_path, more):
    part = tmp_path / f"b.zip.{server.identity}.part"
    part.write_bytes(server.body + bytes(more))
    if more:
        with pytest.raises(DownloadError, match="HTTP 416; call again"):
            fetch_bundle(server.url, tmp_path / "b.zip")
    assert fetch_bundle(server.url, tmp_path / "b.zip").read_bytes() == server.body
    assert len(server.seen) == (2 if more else 1)
    assert not part.exists()


def test_a_bundle_that_the_device_refused_is_not_downloaded(server, tmp_path):
    refused = {bytes.fromhex(server.identity): "it was refused before"}
    with pytest.raises(BundleError, match=r"^it was refused before$"):
        fetch_bundle(server.url, tmp_path / "b.zip", refused=refused)
    assert list(tmp_path.glob("b.zip*")) == []
    (tmp_path / f"b.zip.{server.identity}.part").write_bytes(server.body)  # nor used, if it is here
    with pytest.raises(BundleError, match=r"^it was refused before$"):
        fetch_bundle(server.url, tmp_path / "b.zip", refused=refused)
    assert fetch_bundle(server.url, tmp_path / "b.zip", refused={OLD: "another"}).read_bytes() == server.body


@pytest.mark.parametrize("other", [True, False])
def test_what_is_not_the_bundle_of_its_etag_is_no_bundle(server, tmp_path, other):
    whole, genuine = server.body, server.identity
    server.identity, server.body = ("ab" * 32, whole) if other else (genuine, b"<html>")
    message = (
        f"expected {'ab' * 32} as its ETag says, got {genuine}" if other else "cannot be read as a folder or a zip"
    )
    with pytest.raises(BundleError, match=message):
        fetch_bundle(server.url, tmp_path / "b.zip")
    assert list(tmp_path.glob("b.zip*")) == []
    server.identity, server.body = genuine, whole
    assert fetch_bundle(server.url, tmp_path / "b.zip").read_bytes() == whole


def test_what_is_too_large_for_a_bundle_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", len(server.body) - 1)
    for _ in range(2):
        with pytest.raises(DownloadError, match=f"expected a bundle of at most {len(server.body) - 1} bytes"):
            fetch_bundle(server.url, tmp_path / "b.zip")
        assert list(tmp_path.glob("b.zip*")) == []
    assert "Range" not in server.seen[1]


@pytest.mark.parametrize("identity", ["", "../../etc", "AB" * 32, "ab" * 31, "w/x"])
def test_an_answer_of_another_server_is_refused(server, tmp_path, identity):
    server.identity = identity
    with pytest.raises(DownloadError, match="ETag"):
        fetch_bundle(server.url, tmp_path / "b.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["served.zip"]


def test_upgrade_from_an_address(server, tmp_path, bundle_path):
    first = successor(bundle_path, tmp_path / "first")
    here = ["--state", tmp_path / "device", "--json"]
    succeeded("log", 103, "--bundle", first, *here)
    run("upgrade", "--url", server.url, *here)
    assert json.loads(succeeded("status", *here))["bundle"] == server.identity
    assert json.loads(succeeded("upgrade", "--url", server.url, *here)) == {"how": None}
    assert not (tmp_path / "device" / "download.zip").exists()


def test_upgrade_from_an_address_leaves_what_was_refused_unless_asked(server, tmp_path, bundle_path):
    here = ["--url", server.url, "--state", tmp_path / "device"]
    with Device.open(tmp_path / "device", successor(bundle_path, tmp_path / "first")) as device:
        device.upgrade(bundle_path)
        device.rollback()
        told = len(device.events())
    refused = run("upgrade", *here)
    assert (refused.returncode, "was refused before (it was rolled back)" in refused.stderr) == (1, True)
    assert list((tmp_path / "device").glob("download*")) == []
    with Device.open(tmp_path / "device") as device:
        assert device.bundle.identity.hex() != server.identity
        assert "refusal" not in [event.kind for event in device.events()[told:]]  # it was not even tried
    assert json.loads(run("upgrade", "--retry", "--json", *here).stdout)["bundle"] == server.identity


def test_upgrade_from_an_address_mends_a_damaged_copy(server, tmp_path, bundle_path):
    with Device.open(tmp_path / "device", bundle_path) as device:
        (device.bundle.path / "model.tflite").write_bytes(b"damage")
    here = ["--state", tmp_path / "device", "--json"]
    assert json.loads(succeeded("upgrade", "--url", server.url, *here))["how"] == "resumed"
    assert json.loads(succeeded("status", *here))["bundle"] == server.identity
    assert not (tmp_path / "device" / "download.zip").exists()


def test_this_machine_is_asked_by_no_proxy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    assert fetch_bundle(server.url, tmp_path / "b.zip").read_bytes() == server.body


def test_a_redirect_is_not_followed(server, tmp_path):  # it could leave https
    server.moved = "http://example.org/bundle.zip"
    with pytest.raises(DownloadError, match="HTTP 302"):
        fetch_bundle(server.url, tmp_path / "b.zip")


@pytest.mark.parametrize("kind", ["text/html", "application/problem+json"])
def test_only_a_collector_can_say_that_there_is_none(tmp_path, kind):
    server = LocalServer(lambda request: reply(request, 404, {"Content-Type": kind}, b"{}"))
    if kind == "text/html":
        with pytest.raises(DownloadError, match="expected a collector, got HTTP 404; is this its address"):
            fetch_bundle(server.url, tmp_path / "b.zip")
    else:
        assert fetch_bundle(server.url, tmp_path / "b.zip") is None
    server.close()


def test_an_id_that_headers_cannot_hold_is_encoded(server, tmp_path):
    fetch_bundle(server.url, tmp_path / "b.zip", "ключ 100%")
    assert server.seen[0]["Dccl-Device-Id"] == "%D0%BA%D0%BB%D1%8E%D1%87 100%25"


def test_a_folder_in_the_place_of_the_file_is_told(server, tmp_path):
    (tmp_path / "b.zip").mkdir()
    with pytest.raises(StorageError, match=r"b\.zip: cannot be written"):
        fetch_bundle(server.url, tmp_path / "b.zip")


def test_nobody_there(server, tmp_path):
    server.close()
    with pytest.raises(DownloadError, match="call again"):
        fetch_bundle(server.url, tmp_path / "b.zip", timeout=2)


def test_a_folder_that_is_not_there(server, tmp_path):
    with pytest.raises(StorageError):
        fetch_bundle(server.url, tmp_path / "none" / "b.zip")


@pytest.mark.parametrize("url", ["http://example.org", "ftp://example.org", "example.org", "", "https://[::1"])
def test_addresses_in_the_clear_are_refused(url):
    with pytest.raises(InputError, match="url"):
        fetch_bundle(url, Path("b.zip"))


def test_holding_is_an_identity():
    with pytest.raises(InputError, match="holding"):
        fetch_bundle("https://example.org", Path("b.zip"), holding=b"abc")


def test_a_new_device_begins_with_what_the_collector_has(server, tmp_path):
    here = ["--state", tmp_path / "device", "--json"]
    begun = json.loads(succeeded("upgrade", "--url", server.url, "--device_id=d1", *here))
    assert (begun["how"], begun["bundle"]) == ("first", server.identity)
    assert server.seen[0]["Dccl-Device-Id"] == "d1"
    assert json.loads(succeeded("status", *here))["device_id"] == "d1"
    assert json.loads(succeeded("upgrade", "--url", server.url, *here)) == {"how": None}

"""Where MovieLens is looked for, with a server on this machine and a wheel made here: no test leaves the machine."""

import contextlib
import hashlib
import http.server
import io
import threading
import time
import zipfile

import pytest

from dccl_tf.data import sources

RATINGS = b"1\t2\t3\t4\n"


def zipped(name, files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in files.items():
            archive.writestr(f"{name}{file}", text)
    return content.getvalue()


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("DCCL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sources, "SERVER", "http://127.0.0.1:9/{name}.zip")  # nobody listens there
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def serve(monkeypatch):
    """Answers with these pieces, one every `pause` seconds, after promising `length` bytes."""
    servers = []

    def serve(pieces, length=None, pause=0.0):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(length or sum(map(len, pieces))))
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(pause)

            def log_message(self, *_):
                pass

            def handle(self):
                with contextlib.suppress(ConnectionError):  # the client gave up, as it should
                    super().handle()

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(sources, "SERVER", f"http://127.0.0.1:{server.server_port}/{{name}}.zip")

    yield serve
    for server in servers:
        server.shutdown()


@pytest.fixture
def wheel(tmp_path):
    """A wheel of RecBole's name and layout that pip finds in a folder."""

    def wheel(*parts):
        files = {f"recbole/dataset_example/ml-100k/ml-100k.{part}": f"this is {part}" for part in parts}
        files["recbole-1.2.1.dist-info/METADATA"] = "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n"
        files["recbole-1.2.1.dist-info/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files["recbole-1.2.1.dist-info/RECORD"] = ""
        (tmp_path / "recbole-1.2.1-py3-none-any.whl").write_bytes(zipped("", files))

    return wheel


def test_the_server_comes_before_the_wheel_and_is_kept(serve, wheel, tmp_path):
    wheel("inter", "item", "user")
    content = zipped("ml-100k/", {"u.data": RATINGS})
    serve([content])
    found = sources.find("ml-100k")
    assert found.origin.startswith("http://127.0.0.1")
    assert found.path == tmp_path / "home" / "dccl" / "ml-100k.zip"
    assert found.path.read_bytes() == content


def test_the_wheel_comes_last_and_brings_its_three_files(wheel):
    wheel("inter", "item", "user")
    found = sources.find("ml-100k")
    assert found.origin == "the wheel recbole==1.2.1 on PyPI"
    with zipfile.ZipFile(found.path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"ml-100k/ml-100k.{part}": f"this is {part}".encode() for part in ("inter", "item", "user")
        }


def test_a_wheel_without_the_set_is_said(wheel):
    wheel("inter")
    with pytest.raises(FileNotFoundError, match=r"the wheel recbole==1.2.1 on PyPI \(.*no item named .*ml-100k.item"):
        sources.find("ml-100k")


def test_what_pip_says_is_handed_on():
    with pytest.raises(FileNotFoundError, match=r"pip download: ERROR: No matching distribution found for recbole"):
        sources.find("ml-100k")


def test_the_cache_comes_before_the_server(serve, tmp_path):
    serve([zipped("ml-1m/", {"ratings.dat": RATINGS})])
    assert sources.find("ml-1m").origin.startswith("http")
    assert sources.find("ml-1m").origin == "the cache"


def test_a_damaged_cache_is_replaced(serve, tmp_path):
    content = zipped("ml-1m/", {"ratings.dat": RATINGS})
    serve([content])
    cached = tmp_path / "ml-1m.zip"
    cached.write_bytes(content[:-10])
    assert sources.find("ml-1m", cache_dir=tmp_path).path.read_bytes() == content


def test_a_given_folder_comes_before_everything_and_alone(serve, tmp_path):
    serve([zipped("ml-1m/", {"ratings.dat": RATINGS})])
    assert sources.find("ml-1m").origin.startswith("http")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="which holds nothing"):
        sources.find("ml-1m", data_dir=tmp_path / "empty")


@pytest.mark.parametrize("answer", ["a page", "cut", "bit flipped"])
def test_what_arrives_damaged_is_not_kept(serve, tmp_path, answer):
    text = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(64))  # cannot be compressed
    content = bytearray(zipped("ml-1m/", {"ratings.dat": text}))
    if answer == "a page":
        serve([b"<html>please log in</html>"])
    elif answer == "cut":
        serve([bytes(content[:-100])], length=len(content))
    else:
        content[500] ^= 1
        serve([bytes(content)])
    with pytest.raises(FileNotFoundError, match=r"ml-1m is not to be had. Tried: .*127.0.0.1"):
        sources.find("ml-1m")
    assert not (tmp_path / "home").exists()


def test_a_server_that_drips_is_given_up_in_time(serve, monkeypatch):
    monkeypatch.setattr(sources, "SERVER_SECONDS", 0.4)
    serve([b"PK"] * 100, length=10_000_000, pause=0.05)
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"\d+ bytes in 0.4 seconds; given up"):
        sources.find("ml-1m")
    assert time.monotonic() - began < 2


def test_a_server_on_course_may_take_longer(serve, monkeypatch):
    monkeypatch.setattr(sources, "SERVER_SECONDS", 0.2)
    content = zipped("ml-1m/", {"ratings.dat": RATINGS * 10})
    serve([content[i : i + 40] for i in range(0, len(content), 40)], pause=0.08)
    assert sources.find("ml-1m").path.read_bytes() == content


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(serve, tmp_path):
    content = zipped("ml-1m/", {"ratings.dat": RATINGS})
    serve([content])
    (tmp_path / "file").touch()
    found = sources.find("ml-1m", cache_dir=tmp_path / "file" / "below")
    assert found.path.read_bytes() == content
    found.path.unlink()

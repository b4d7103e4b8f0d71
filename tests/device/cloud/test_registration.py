"""A device gets its key once, keeps it, and stores nothing of what is no answer of a collector."""

import json

import pytest

from device_runtime import Device, InputError, RegistrationError, StateError, register
from protos import dccl_pb2
from tests.device.local_server import LocalServer, body_of, reply
from tests.device.test_command_line import BUNDLE, run, succeeded

KEY = bytes(range(32))


class Server(LocalServer):
    """Answers as the collector does, or with `instead`: status, content type and body."""

    def __init__(self):
        super().__init__(self._answer)
        self.instead, self.seen = None, []

    def _answer(self, request):
        wanted = dccl_pb2.Registration.FromString(body_of(request)).device_id
        self.seen.append((request.path, wanted, request.headers.get("Authorization")))
        status, kind, body = self.instead or credentials(wanted or "chosen")
        reply(request, status, {"Content-Type": kind}, body)


def credentials(device_id="mine", key=KEY):
    return 201, "application/x-protobuf", dccl_pb2.Credentials(device_id=device_id, key=key).SerializeToString()


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


def test_a_registered_device_opens_with_its_id_and_key(server, tmp_path):
    assert register(tmp_path / "state", server.url, token="secret") == "chosen"
    assert server.seen == [("/v1/devices", "", "Bearer secret")]
    with Device.open(tmp_path / "state", BUNDLE) as device:
        assert device.device_id == "chosen"
    assert (tmp_path / "state" / "device.key").read_bytes() == KEY
    with pytest.raises(InputError, match="without a key"):  # a second key would make the first one's uploads worthless
        register(tmp_path / "state", server.url)
    assert len(server.seen) == 1


def test_a_device_that_was_open_before_registers_under_its_id(server, tmp_path):
    with Device.open(tmp_path / "state", BUNDLE) as device:
        own = device.device_id
        with pytest.raises(StateError, match="open"):
            register(tmp_path / "state", server.url)
    with pytest.raises(StateError, match="another state folder"):
        register(tmp_path / "state", server.url, device_id="other")
    assert register(tmp_path / "state", server.url) == own
    assert server.seen == [("/v1/devices", own, None)]


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        (
            (409, "application/problem+json", json.dumps({"detail": "device_id: taken"}).encode()),
            "taken.*remove device.id",
        ),
        ((401, "application/problem+json", b"[1]"), "got HTTP 401$"),
        ((200, "text/html", b"<html>Log in to the hotel's network</html>"), "got HTTP 200$"),
        ((201, "text/html", b"<html>"), "got HTTP 201$"),
        ((201, "application/x-protobuf", b"\xff\xff"), "got 2 other bytes"),
        (credentials(key=b"short"), "other bytes"),
        (credentials(device_id="somebody else"), "other bytes"),
    ],
)
def test_what_is_no_credentials_leaves_the_device_as_it_was(server, tmp_path, instead, message):
    server.instead = instead
    with pytest.raises(RegistrationError, match=message):
        register(tmp_path / "state", server.url, device_id="mine")
    server.instead = None
    assert register(tmp_path / "state", server.url, device_id="again") == "again"


def test_a_registration_that_broke_off_costs_the_id_alone(server, tmp_path):
    state = tmp_path / "state"
    with Device.open(state, BUNDLE) as device:
        device.log_many(range(101, 121), [0, 1] * 10)
        device.personalize()
        vector, own = device.vector, device.device_id
    server.instead = (409, "application/problem+json", json.dumps({"detail": "device_id: taken"}).encode())
    with pytest.raises(RegistrationError, match=r"its key is lost: remove device\.id from its state folder"):
        register(state, server.url)
    server.instead = None
    (state / "device.id").unlink()
    assert register(state, server.url) == "chosen" != own
    with Device.open(state) as device:
        assert (device.device_id, device.history_size) == ("chosen", 20)
        assert device.vector.tolist() == vector.tolist()
        assert dccl_pb2.SignedUpload.FromString(device.upload()).upload


def test_no_answer_and_no_address_say_so(server, tmp_path):
    server.close()
    with pytest.raises(RegistrationError, match="no answer"):
        register(tmp_path / "state", server.url)
    with pytest.raises(InputError, match="url: expected https"):
        register(tmp_path / "state", "http://collector.example")
    with pytest.raises(InputError, match="device_id: expected 1 to 128"):
        register(tmp_path / "state", server.url, device_id=" ")


def test_the_command_registers(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    here = ["register", "--url", server.url, "--state", tmp_path / "state"]
    assert json.loads(succeeded(*here, "--enrolment_token_file", token, "--json")) == {"device_id": "chosen"}
    assert server.seen == [("/v1/devices", "", "Bearer secret")]
    assert run(*here).returncode == 1
    assert "expected --url=URL and --state=PATH" in run("register").stderr

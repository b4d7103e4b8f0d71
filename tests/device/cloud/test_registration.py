"""A device gets its key once, keeps it, and stores nothing of what is no answer of a collector."""

import json

import pytest

from device_runtime import Device, InputError, RegistrationError, StateError, change_key, register
from protos import dccl_pb2
from protos.signing import verify, verify_key_change
from tests.device.local_server import LocalServer, body_of, reply
from tests.device.test_command_line import BUNDLE, run, succeeded

KEY = bytes(range(32))
TAKEN = (409, "application/problem+json", json.dumps({"detail": "device_id: taken"}).encode())


class Server(LocalServer):
    """Answers as the collector does, or with `instead`: status, content type and body."""

    def __init__(self):
        super().__init__(self._answer)
        self.instead, self.taken, self.seen = None, set(), []

    def _answer(self, request):
        wanted = dccl_pb2.Registration.FromString(body_of(request)).device_id
        self.seen.append((request.path, wanted, request.headers.get("Authorization")))
        status, kind, body = self.instead or (TAKEN if wanted in self.taken else credentials(wanted or "chosen"))
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
    # Asked again, it asks nobody: a second key would make the first one's uploads worthless.
    assert register(tmp_path / "state", server.url) == "chosen"
    assert len(server.seen) == 1
    with pytest.raises(StateError, match="another state folder"):
        register(tmp_path / "state", server.url, "other")


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
        (TAKEN, "taken.*register again with or_new_id"),
        ((401, "application/problem+json", b"[1]"), "got HTTP 401$"),
        ((200, "text/html", b"<html>Log in to the hotel's network</html>"), "got HTTP 200$"),
        ((201, "text/html", b"<html>"), "got HTTP 201$"),
        ((201, "application/x-protobuf", b"\xff\xff"), "got 2 other bytes"),
        (credentials(key=b"short"), "other bytes"),
        (credentials(device_id="somebody else"), "other bytes"),
        (credentials(device_id=""), "other bytes"),
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
    server.taken.add(own)
    with pytest.raises(RegistrationError, match="its key is lost: register again with or_new_id"):
        register(state, server.url)
    assert register(state, server.url, or_new_id=True) == "chosen" != own
    assert [wanted for _, wanted, _ in server.seen] == [own, own, ""]
    with Device.open(state) as device:
        assert (device.device_id, device.history_size) == ("chosen", 20)
        assert device.vector.tolist() == vector.tolist()
        assert dccl_pb2.SignedUpload.FromString(device.upload()).upload


def test_an_id_that_is_free_is_kept(server, tmp_path):
    assert register(tmp_path / "state", server.url, "mine", or_new_id=True) == "mine"
    assert len(server.seen) == 1


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
    assert json.loads(succeeded(*here, "--json")) == {"device_id": "chosen"}
    assert len(server.seen) == 1
    assert "expected --url=URL and --state=PATH" in run("register").stderr


class Changes(LocalServer):
    """Takes changes of a key as the collector does; may lose the answer on its way."""

    def __init__(self):
        super().__init__(self._answer)
        self.key, self.seen, self.loses_answer = KEY, [], False

    def _answer(self, request):
        body = body_of(request)
        if request.path == "/v1/vectors":
            signed = dccl_pb2.SignedUpload.FromString(body)
            sequence = dccl_pb2.VectorUpload.FromString(signed.upload).sequence
            status = dccl_pb2.Receipt.ACCEPTED if verify(signed, self.key) else dccl_pb2.Receipt.REJECTED
            return self._receipt(request, dccl_pb2.Receipt(status=status, sequence=sequence))
        signed = dccl_pb2.SignedKeyChange.FromString(body)
        change = dccl_pb2.KeyChange.FromString(signed.change)
        self.seen.append((request.path, change.device_id, change.new_key))
        if verify_key_change(signed, self.key):
            self.key = change.new_key
            receipt = dccl_pb2.Receipt(status=dccl_pb2.Receipt.ACCEPTED)
        elif change.new_key == self.key:
            receipt = dccl_pb2.Receipt(status=dccl_pb2.Receipt.DUPLICATE)
        else:
            receipt = dccl_pb2.Receipt(status=dccl_pb2.Receipt.REJECTED, reason=dccl_pb2.BAD_MAC, detail="mac: wrong")
        if self.loses_answer:
            return reply(request, 502, {"Content-Type": "text/html"}, b"<html>")
        return self._receipt(request, receipt)

    def _receipt(self, request, receipt):
        reply(request, 200, {"Content-Type": "application/x-protobuf"}, receipt.SerializeToString())


@pytest.fixture
def changes():
    one = Changes()
    yield one
    one.close()


@pytest.fixture
def trained(tmp_path):
    """The folder of a device with a key and a vector."""
    with Device.open(tmp_path / "trained", BUNDLE, device_id="d1", key=KEY) as device:
        device.log_many(range(101, 121), [0, 1] * 10)
        device.personalize()
    return tmp_path / "trained"


def test_a_changed_key_signs_what_follows(changes, trained):
    change_key(trained, changes.url)
    new = (trained / "device.key").read_bytes()
    assert changes.seen == [("/v1/devices:changeKey", "d1", new)]
    assert new != KEY
    assert not (trained / "device.key.next").exists()
    with Device.open(trained) as device:
        assert [one.status for one in device.send(changes.url)] == ["accepted"]


def test_until_a_change_has_its_answer_both_keys_are_kept_and_nothing_is_sent(changes, trained):
    changes.loses_answer = True
    with pytest.raises(RegistrationError, match="expected a receipt, got HTTP 502; change the key again"):
        change_key(trained, changes.url)
    assert (trained / "device.key").read_bytes() == KEY
    with Device.open(trained) as device:
        (delivery,) = device.send(changes.url)  # under the old key it would be rejected for good
        assert (delivery.status, delivery.attempts) == ("queued", 0)
        assert "change_key" in delivery.detail
    changes.loses_answer = False
    change_key(trained, changes.url)
    (first, second) = changes.seen
    assert first == second  # the same change: a DUPLICATE, since the collector had made it
    assert (trained / "device.key").read_bytes() == changes.key == first[2]
    with Device.open(trained) as device:
        assert [one.status for one in device.send(changes.url)] == ["accepted"]


def test_a_refused_change_leaves_the_key_as_it_is(changes, trained):
    changes.key = bytes(32)
    with pytest.raises(RegistrationError, match=r"the key stays as it is \(BAD_MAC: mac: wrong\)"):
        change_key(trained, changes.url)
    assert (trained / "device.key").read_bytes() == KEY
    assert not (trained / "device.key.next").exists()


def test_a_device_without_a_key_changes_none(changes, tmp_path):
    with pytest.raises(StateError, match="has none; register it first"):
        change_key(tmp_path / "nobody", changes.url)
    assert not (tmp_path / "nobody").exists()


def test_the_command_changes_the_key(changes, trained):
    here = ["change-key", "--url", changes.url, "--state", trained]
    assert json.loads(succeeded(*here, "--json")) == {"changed": True}
    assert (trained / "device.key").read_bytes() == changes.key
    assert "change-key: expected --url=URL and --state=PATH" in run("change-key").stderr

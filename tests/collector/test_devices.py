"""Registration and keys over HTTP."""

import pytest
from starlette.testclient import TestClient

from dccl_tf.collector import Collector, Settings, application
from dccl_tf.collector.enrolment import Pace
from protos import dccl_pb2
from protos.signing import sign_key_change
from tests.collector.devices import PROTOBUF, SmallDevice, send
from tests.vectors.uploads import verdict


def test_a_registered_device_may_upload(client):
    device = SmallDevice.registered(client)
    assert (len(device.device_id), len(device.key)) == (32, 32)
    assert verdict(send(client, device.body())) == "ACCEPTED"


def test_a_device_may_name_itself_once(client):
    """Whoever knows an id must not get its key."""
    assert SmallDevice.registered(client, "mine").device_id == "mine"
    body = dccl_pb2.Registration(device_id="mine").SerializeToString()
    answer = client.post("/v1/devices", content=body, headers=PROTOBUF)
    assert (answer.status_code, answer.json()["detail"]) == (409, "device_id: taken; leave it out to get a new one")


def test_an_impossible_id_is_refused(client):
    body = dccl_pb2.Registration(device_id="a\nb").SerializeToString()
    answer = client.post("/v1/devices", content=body, headers=PROTOBUF)
    assert answer.status_code == 422
    assert "device_id: expected 1 to 128 printable characters" in answer.json()["detail"]


def test_enrolment_may_need_a_token(tmp_path):
    (tmp_path / "token").write_text("of-the-app-0123456789\n")
    collector = Collector.open(Settings(data_dir=tmp_path / "c", enrolment_token_file=tmp_path / "token"))
    with TestClient(application(collector)) as client:
        assert client.post("/v1/devices", content=b"", headers=PROTOBUF).status_code == 401
        wrong = {"Authorization": "Bearer of-the-app-0123456788"}
        assert client.post("/v1/devices", content=b"", headers=PROTOBUF | wrong).status_code == 401
        SmallDevice.registered(client, Authorization="Bearer of-the-app-0123456789")


def test_a_pace_lets_a_rush_through_and_then_so_many_a_second():
    """2 a second: 20 at once, then one every half second, and never more than 20 saved up."""
    now = [0.0]
    pace = Pace(2.0, clock=lambda: now[0])
    assert [pace.wait() for _ in range(22)] == [0.0] * 20 + [0.5] * 2
    now[0] = 0.25
    assert pace.wait() == 0.25
    now[0] = 0.5
    assert [pace.wait(), pace.wait()] == [0.0, 0.5]
    now[0] = 1000.0
    assert [pace.wait() for _ in range(21)] == [0.0] * 20 + [0.5]


def test_too_many_who_register_are_told_to_come_back(tmp_path):
    collector = Collector.open(Settings(data_dir=tmp_path / "c", enrolments_per_second=0.2))
    with TestClient(application(collector)) as client:
        answers = [client.post("/v1/devices", content=b"", headers=PROTOBUF) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 5
    assert "too many devices register" in answers[2].json()["detail"]


@pytest.fixture
def change(client):
    def change(device, new_key, old_key=None):
        message = dccl_pb2.KeyChange(device_id=device.device_id, new_key=new_key)
        body = sign_key_change(message, old_key or device.key)
        answer = client.post("/v1/devices:changeKey", content=body, headers=PROTOBUF)
        return verdict(dccl_pb2.Receipt.FromString(answer.content))

    return change


def test_after_a_change_of_keys_the_new_one_counts_alone(client, change):
    device = SmallDevice.registered(client)
    assert change(device, b"n" * 32) == "ACCEPTED"
    assert verdict(send(client, device.body())) == "BAD_MAC"
    assert verdict(send(client, SmallDevice(device.device_id, b"n" * 32).body())) == "ACCEPTED"


def test_a_change_whose_answer_was_lost_may_be_sent_again(client, change):
    device = SmallDevice.registered(client)
    assert [change(device, b"n" * 32) for _ in range(2)] == ["ACCEPTED", "DUPLICATE"]


def test_an_old_change_cannot_be_replayed_after_the_next(client, change):
    device = SmallDevice.registered(client)
    change(device, b"n" * 32)
    change(device, b"m" * 32, old_key=b"n" * 32)
    assert change(device, b"n" * 32) == "BAD_MAC"
    assert verdict(send(client, SmallDevice(device.device_id, b"m" * 32).body())) == "ACCEPTED"


def test_a_stranger_changes_no_key(client, change):
    device = SmallDevice.registered(client)
    assert change(device, b"n" * 32, old_key=bytes(32)) == "BAD_MAC"
    assert change(SmallDevice("stranger", bytes(32)), b"n" * 32) == "UNKNOWN_DEVICE"
    assert change(device, b"short") == "MALFORMED"


def test_an_upload_is_no_change_of_keys(client):
    device = SmallDevice.registered(client)
    answer = client.post("/v1/devices:changeKey", content=device.body(), headers=PROTOBUF)
    assert verdict(dccl_pb2.Receipt.FromString(answer.content)) == "MALFORMED"


def test_a_forgotten_device_may_register_again(client, operator):
    device = SmallDevice.registered(client, "a/b")
    assert client.delete("/v1/operator/devices/a/b", headers=operator).status_code == 204
    assert client.delete("/v1/operator/devices/a/b", headers=operator).status_code == 404
    assert SmallDevice.registered(client, "a/b").key != device.key

"""Uploads that wait until the cloud's receipt, over a network that fails, and over HTTP for real."""

import threading

import pytest

from device_runtime import Answer, Device, HttpTransport, InputError, Retries, StateError
from device_runtime.log.outbox import Outbox
from protos import dccl_pb2
from tests.device.local_server import LocalServer, body_of, reply

Receipt = dccl_pb2.Receipt
ONCE = Retries(attempts=1)


def learn(device, item):
    device.log(item)
    device.personalize()


def read(body):
    return dccl_pb2.VectorUpload.FromString(dccl_pb2.SignedUpload.FromString(body).upload)


def receipt(status, sequence, reason=0, detail=""):
    return Receipt(status=status, sequence=sequence, reason=reason, detail=detail).SerializeToString()


class Cloud:
    """Answers in turn with what it is given: an Answer, an exception, or a status for a receipt; then ACCEPTED."""

    def __init__(self, *answers):
        self.answers, self.bodies = list(answers), []

    def post(self, body):
        self.bodies.append(body)
        answer = self.answers.pop(0) if self.answers else Receipt.ACCEPTED
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            answer = Answer(200, receipt(answer, read(body).sequence))
        return Answer(answer.status, answer.body, answer.content_type, answer.retry_after, len(body) + 100, 50)


@pytest.fixture
def waits(monkeypatch):
    """How long a delivery waits between its attempts, which it does not do here."""
    waits = []
    monkeypatch.setattr("device_runtime.cloud.delivery.time.sleep", waits.append)
    return waits


def test_an_accepted_upload_is_sent_once(trained):
    cloud = Cloud()
    (delivery,) = trained.send(cloud)
    size = len(trained.upload())
    assert delivery.to_dict() == {
        "sequence": 1, "status": "accepted", "detail": "", "attempts": 1, "sent": size + 100, "received": 50,
    }  # fmt: skip
    assert trained.send(cloud) == []
    assert len(cloud.bodies) == 1


@pytest.mark.parametrize("status", [Receipt.DUPLICATE, Receipt.ACCEPTED])
def test_a_duplicate_is_as_good_as_accepted(trained, status):
    assert trained.send(Cloud(status))[0].status in ("duplicate", "accepted")
    assert trained.state["uploads_waiting"] == 0


def test_a_rejected_upload_is_kept_with_its_reason_and_not_sent_again(trained):
    cloud = Cloud(Answer(422, receipt(Receipt.REJECTED, 1, dccl_pb2.NORM_TOO_LARGE, "norm 7 of at most 5")))
    (delivery,) = trained.send(cloud)
    assert (delivery.status, delivery.detail) == ("rejected", "NORM_TOO_LARGE: norm 7 of at most 5")
    assert trained.send(cloud) == []
    assert trained._folder.outbox.newest(1)[0].detail == "NORM_TOO_LARGE: norm 7 of at most 5"
    learn(trained, 101)
    assert trained.send(cloud)[0].status == "accepted"


NO_RECEIPT = {
    "no network": OSError("Network is unreachable"),
    "busy": Answer(503, b""),
    "a login page": Answer(200, b"<html>Welcome</html>", "text/html"),
    "a login page that says it is none": Answer(200, b"<html>Welcome</html>"),
    "nothing": Answer(200, b""),
    "another upload's receipt": Answer(200, receipt(Receipt.ACCEPTED, 99)),
    "a receipt of a newer kind": Answer(200, receipt(Receipt.UNKNOWN, 1)),
}


@pytest.mark.parametrize("problem", NO_RECEIPT.values(), ids=NO_RECEIPT)
def test_whatever_is_no_receipt_is_tried_again_with_the_same_bytes(trained, waits, problem):
    cloud = Cloud(problem, problem)
    (delivery,) = trained.send(cloud)
    assert (delivery.status, delivery.attempts) == ("accepted", 3)
    assert cloud.bodies == [trained.upload()] * 3
    assert len(waits) == 2
    assert 0.0 <= waits[0] <= 1.0
    assert 0.0 <= waits[1] <= 2.0  # the bound doubles


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413])
def test_an_answer_that_trying_again_does_not_change_ends_the_attempts(trained, waits, status):
    (delivery,) = trained.send(Cloud(Answer(status, b"")))
    assert (delivery.status, delivery.attempts, waits) == ("queued", 1, [])
    assert delivery.detail == f"the server answered {status} without a receipt of this upload"


def test_it_gives_up_for_now_and_goes_on_days_later_in_another_process(trained, waits):
    (delivery,) = trained.send(Cloud(*[OSError("no route")] * 9), Retries(attempts=4))
    assert (delivery.status, delivery.attempts, delivery.detail) == ("queued", 4, "no answer (no route)")
    folder, body = trained._folder.path, trained.upload()
    trained.close()
    with Device.open(folder) as device:
        assert device.state["uploads_waiting"] == 1
        cloud = Cloud()
        assert device.send(cloud)[0].status == "accepted"
        assert cloud.bodies == [body]
        queued = device._folder.outbox.newest(1)[0]
        assert (queued.attempts, queued.bytes_sent) == (5, len(body) + 100)


def test_a_server_that_asks_for_a_pause_gets_it(trained, waits):
    cloud = Cloud(Answer(429, b"", retry_after=7.0))
    assert trained.send(cloud)[0].status == "accepted"
    assert len(waits) == 1
    assert waits[0] >= 7.0


def test_a_long_pause_outlives_the_call_and_the_process(trained, waits, monkeypatch):
    cloud = Cloud(Answer(503, b"", retry_after=3600.0))
    assert trained.send(cloud)[0].attempts == 1
    folder = trained._folder.path
    trained.close()
    with Device.open(folder) as device:
        (delivery,) = device.send(cloud)
        assert (delivery.status, delivery.attempts) == ("queued", 0)
        assert "the server asked for a pause, 3" in delivery.detail
        now = __import__("time").time()
        monkeypatch.setattr("device_runtime.log.outbox.time.time", lambda: now + 3601)
        assert device.send(cloud)[0].status == "accepted"


def test_a_clock_that_was_set_back_does_not_hold_uploads_for_years(trained, monkeypatch):
    outbox = trained._folder.outbox
    now = __import__("time").time()
    monkeypatch.setattr("device_runtime.log.outbox.time.time", lambda: now + 10 * 365 * 86_400)
    outbox.hold(3600)
    assert outbox.held > 3500
    monkeypatch.undo()
    assert outbox.held == 0.0
    outbox.hold(3600)
    assert 3500 < outbox.held <= 3600


def test_a_newer_vector_of_the_same_bundle_replaces_one_that_waits(trained, waits):
    trained.send(Cloud(OSError("no route")), ONCE)
    learn(trained, 101)
    cloud = Cloud()
    assert [delivery.sequence for delivery in trained.send(cloud)] == [2]
    assert [one.status for one in trained._folder.outbox.newest(9)] == ["accepted", "superseded"]


def test_one_of_each_bundle_waits_and_they_go_in_order(trained, waits, bundle_path, tmp_path):
    from tests.device.bundles import successor

    trained.send(Cloud(OSError("no route")), ONCE)
    trained.upgrade(successor(bundle_path, tmp_path / "next"))
    learn(trained, 101)
    # The first fails: the second must not overtake it, or the cloud would refuse the first as stale.
    assert [one.sequence for one in trained.send(Cloud(OSError("no route")), ONCE)] == [1]
    cloud = Cloud()
    assert [one.sequence for one in trained.send(cloud)] == [1, 2]
    assert [read(body).sequence for body in cloud.bodies] == [1, 2]


def test_no_more_than_four_bundles_wait(device):
    outbox = Outbox(device._folder.database)
    for sequence in range(1, 8):
        outbox.add(sequence, bytes([sequence]), b"content", b"digest")
    assert [one.sequence for one in outbox.waiting()] == [4, 5, 6, 7]


def test_settled_uploads_are_forgotten_in_time(device):
    outbox = Outbox(device._folder.database)
    for sequence in range(1, 200):
        outbox.add(sequence, b"bundle", b"content", b"digest")
    assert len(outbox.newest(1000)) == 50


def test_an_untrained_vector_waits_for_nothing_and_sends_nothing(device):
    cloud = Cloud()
    assert device.send(cloud) == []
    assert cloud.bodies == []


def test_without_a_key_nothing_is_sent(tmp_path, bundle):
    with Device.open(tmp_path / "device", bundle) as device, pytest.raises(StateError, match="no key"):
        device.send(Cloud())


def test_what_is_forgotten_between_two_attempts_is_not_sent(trained, waits, monkeypatch):
    cloud = Cloud(Answer(503, b""))
    monkeypatch.setattr("device_runtime.cloud.delivery.time.sleep", lambda _: trained.reset(forget_user=True))
    (delivery,) = trained.send(cloud)
    assert (delivery.status, delivery.detail, delivery.attempts) == ("queued", "it no longer waits", 1)
    assert len(cloud.bodies) == 1
    assert trained.send(cloud) == []


@pytest.mark.parametrize(
    "wrong", [{"attempts": "3"}, {"attempts": 0}, {"first_wait": -1}, {"longest_wait": float("nan")}]
)
def test_retries_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}: expected"):
        Retries(**wrong)


def test_rankings_go_on_while_an_upload_is_under_way(trained):
    class Slow(Cloud):
        def post(self, body):
            done = threading.Event()
            threading.Thread(target=lambda: (trained.rank([101, 102]), trained.log(103), done.set())).start()
            assert done.wait(10), "the device was locked"
            return super().post(body)

    assert trained.send(Slow())[0].status == "accepted"


# ---- HTTP ------------------------------------------------------------------------------------


class Server(LocalServer):
    """A collector on the loopback: answers in turn (status, headers, body or None for an accepting receipt)."""

    def __init__(self):
        super().__init__(self._answer)
        self.answers, self.requests = [], []

    def _answer(self, request):
        body = body_of(request)
        self.requests.append((request.path, dict(request.headers), body))
        status, headers, answer = self.answers.pop(0) if self.answers else (200, {}, None)
        answer = receipt(Receipt.ACCEPTED, read(body).sequence) if answer is None else answer
        reply(request, status, {"Content-Type": "application/x-protobuf", **headers}, answer)


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


def test_http_posts_the_body_and_counts_the_bytes_on_the_wire(trained, server):
    (delivery,) = trained.send(server.url)
    assert delivery.status == "accepted"
    ((path, headers, body),) = server.requests
    assert (path, headers["Content-Type"], body) == ("/v1/vectors", "application/x-protobuf", trained.upload())
    head = len("POST /v1/vectors HTTP/1.1\r\n") + sum(len(f"{k}: {v}\r\n") for k, v in headers.items()) + len("\r\n")
    assert delivery.sent == head + len(body)
    assert delivery.received > len(receipt(Receipt.ACCEPTED, 1))


def test_http_errors_are_answers_and_redirects_are_not_followed(trained, server, waits):
    server.answers = [(503, {"Retry-After": "2"}, b""), (302, {"Location": server.url + "/login"}, b"")]
    (delivery,) = trained.send(server.url + "/elsewhere")
    assert (delivery.status, delivery.attempts) == ("queued", 2)
    assert delivery.detail.startswith("the server answered 302")
    assert waits[0] >= 2.0
    assert [path for path, _, _ in server.requests] == ["/elsewhere"] * 2


def test_http_takes_a_retry_after_that_is_a_date(server):
    server.answers = [(503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, b"")]
    assert HttpTransport(server.url).post(b"").retry_after > 1e9


@pytest.mark.parametrize("value", ["soon", "-5", "1e3", "Fri, 99 Dec 2100"])
def test_http_takes_no_retry_after_that_is_none(server, value):
    server.answers = [(503, {"Retry-After": value}, b"")]
    assert HttpTransport(server.url).post(b"").retry_after is None


def test_http_without_a_server_is_no_answer(trained, waits):
    (delivery,) = trained.send("http://127.0.0.1:9", Retries(attempts=2))
    assert (delivery.status, delivery.attempts) == ("queued", 2)
    assert delivery.detail.startswith("no answer (")


def test_http_headers_travel(server):
    HttpTransport(server.url, headers={"Authorization": "Bearer secret"}).post(receipt(Receipt.ACCEPTED, 1))
    assert server.requests[0][1]["Authorization"] == "Bearer secret"


def test_http_to_this_machine_goes_by_no_proxy(server, monkeypatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
    monkeypatch.delenv("no_proxy", raising=False)
    for host in ("127.0.0.1", "localhost", "LocalHost"):
        HttpTransport(server.url.replace("127.0.0.1", host)).post(receipt(Receipt.ACCEPTED, 1))
    assert [path for path, _, _ in server.requests] == ["/v1/vectors"] * 3


def test_http_to_others_goes_by_the_proxy_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    HttpTransport("http://collector.example", insecure=True).post(receipt(Receipt.ACCEPTED, 1))
    assert [path for path, _, _ in server.requests] == ["http://collector.example/v1/vectors"]


@pytest.mark.parametrize(
    ("url", "message"),
    [("collector.example", "expected https://HOST"), ("ftp://a.example", "expected https://HOST"), ("", "expected"),
     ("https://", "expected https://HOST"), ("http://collector.example", "expected https, since others could")],
)  # fmt: skip
def test_http_takes_no_address_in_the_clear(url, message):
    with pytest.raises(InputError, match=f"url: {message}"):
        HttpTransport(url)


def test_http_in_the_clear_is_a_choice():
    assert HttpTransport("http://10.0.2.2:8000", insecure=True).url == "http://10.0.2.2:8000/v1/vectors"

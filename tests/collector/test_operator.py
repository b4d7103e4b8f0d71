"""The operator's token, quarantine, health, metrics."""

import re

import pytest

from dccl_tf.collector.problems import Problem
from dccl_tf.collector.tokens import Token
from tests.collector.devices import PROTOBUF, SmallDevice, send

CALLS = [
    ("GET", "/v1/operator/bundles"),
    ("POST", "/v1/operator/bundles"),
    ("PATCH", f"/v1/operator/bundles/{'0' * 64}"),
    ("GET", "/v1/operator/quarantine"),
    ("GET", "/v1/operator/statistics"),
    ("DELETE", "/v1/operator/devices/d1"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer \u00e9"])
def test_operator_calls_need_the_token(client, method, path, given):
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    answer = client.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_token_is_the_same_after_a_restart_and_for_its_owner_alone(settings, collector, operator):
    path = settings.data_dir / "operator_token"
    assert path.stat().st_mode & 0o077 == 0
    assert f"Bearer {path.read_text().strip()}" == operator["Authorization"]


@pytest.mark.parametrize("text", ["", "short", "with a space in the middle", "\u00e9" * 20])
def test_a_token_that_is_none_is_named(tmp_path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(ValueError, match=r"token: token: expected at least 16 ASCII characters without spaces"):
        Token.from_file(tmp_path / "token", make=False)


def test_quarantine_is_shown_in_pages_of_one_reason(client, operator):
    device = SmallDevice.registered(client)
    for number in range(5):
        send(client, b"noise-%d" % number)
    send(client, device.body(samples=0))
    first = client.get("/v1/operator/quarantine?reason=MALFORMED&limit=2", headers=operator).json()
    assert first["counts"] == {"MALFORMED": 5, "NO_SAMPLES": 1}
    assert [one["body"] for one in first["uploads"]] == ["bm9pc2UtNA==", "bm9pc2UtMw=="]  # noise-4, noise-3
    last = first["uploads"][-1]["number"]
    rest = client.get(f"/v1/operator/quarantine?reason=MALFORMED&before={last}", headers=operator).json()
    assert [one["detail"] for one in rest["uploads"]] == ["body: expected a SignedUpload, got 7 other bytes"] * 3


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: expected a whole number from 1 to 1000, got 0"),
        ("limit=1001", "limit: expected a whole number from 1 to 1000, got 1001"),
        ("limit=x", "limit: expected a whole number"),
        ("before=-1", "before: expected a whole number"),
        ("before=" + "9" * 5000, "before: expected a whole number"),
        ("reason=UGLY", "reason: expected one of NONE, MALFORMED,"),
    ],
)
def test_an_impossible_query_is_named(client, operator, query, message):
    answer = client.get(f"/v1/operator/quarantine?{query}", headers=operator)
    assert (answer.status_code, message in answer.json()["detail"]) == (422, True)


def test_a_change_nested_too_deeply_is_no_json(client, operator):
    path, headers = f"/v1/operator/bundles/{'0' * 64}", operator | {"Content-Type": "application/json"}
    answer = client.patch(path, content=b"[" * 4000, headers=headers)
    assert (answer.status_code, "body: expected a JSON object" in answer.json()["detail"]) == (400, True)


def test_alive_and_ready(client):
    assert client.get("/healthz").text == "ok"
    assert client.get("/readyz").json() == {"store": "ok", "bundles": "ok", "releases": "ok"}


def test_not_ready_says_what_is_missing(client, collector):
    collector.files._storage.rm(collector.files._root, recursive=True)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {"store": "ok", "bundles": "OSError", "releases": "ok"},
    )


def value(text, name, **labels):
    """Of a metric; labels in the order of the alphabet may be a part of its own."""
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if found and all(f'{key}="{label}"' in (found.group(1) or "") for key, label in labels.items()):
            return float(found.group(2))
    return 0.0


def test_metrics_count_requests_and_verdicts(client, operator):
    device = SmallDevice.registered(client)
    for sequence in (1, 2, 2):
        send(client, device.body(sequence=sequence))
    send(client, b"noise")
    client.post("/v1/vectors", content=b"", headers={"Content-Type": "text/plain"})
    client.get("/nowhere")
    text = client.get("/metrics", headers=operator).text
    assert value(text, "dccl_uploads_total", status="ACCEPTED", reason="NONE") == 2
    assert value(text, "dccl_uploads_total", status="DUPLICATE") == 1
    assert value(text, "dccl_uploads_total", status="REJECTED", reason="MALFORMED") == 1
    assert value(text, "dccl_requests_total", endpoint="upload", method="POST", status="200") == 4
    assert value(text, "dccl_requests_total", endpoint="upload", method="POST", status="415") == 1
    assert value(text, "dccl_requests_total", endpoint="none", status="404") == 1
    assert value(text, "dccl_group_uploads_sum") == 4
    assert value(text, "dccl_uploads_waiting") == 0
    assert value(text, "process_resident_memory_bytes") > 0


def test_what_the_collector_cannot_do_is_a_problem_and_not_a_stack(client, collector, monkeypatch):
    async def fails(*_):
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(collector, "receive", fails)
    answer = client.post("/v1/vectors", content=b"", headers=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text


def test_a_full_disk_is_told_with_when_to_come_back(client, collector):
    """SQLite, allowed no further page."""
    device = SmallDevice.registered(client)
    with collector.store.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    collector._writer.submit(_allow_no_page, collector.store).result()
    statuses = set()
    for sequence in range(1, 200):
        answer = client.post("/v1/vectors", content=device.body(sequence=sequence, samples=0), headers=PROTOBUF)
        statuses.add((answer.status_code, answer.headers.get("retry-after")))
    assert statuses == {(200, None), (503, "5")}


def _allow_no_page(store):
    with store.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")


def test_no_prefix_of_the_token_passes():
    token = Token("0123456789abcdef")

    class Request:
        headers = {"authorization": "Bearer 0123456789abcde"}  # noqa: RUF012

    with pytest.raises(Problem):
        token.expect(Request)

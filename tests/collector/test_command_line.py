"""`dccl-serve` and its commands, as they are typed."""

import json
import sqlite3
import subprocess
import sys

from tests.collector.bundles import TINY, tiny_identity
from tests.collector.served import ROOT, Served


def run(folder, *words):
    command = [sys.executable, "-m", "scripts.serve_cloud", f"--data_dir={folder}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_bundle_from_its_publication_to_its_rollback(tmp_path):
    identity = tiny_identity().hex()
    published = run(tmp_path, "publish", str(TINY), "--percent=10")
    assert json.loads(published.stdout)["bundle"] == identity, published.stderr
    widened = run(tmp_path, "rollout", identity[:8], "--percent=100")
    assert json.loads(widened.stdout)["percent"] == 100
    rolled_back = json.loads(run(tmp_path, "rollback", identity).stdout)
    assert (rolled_back["state"], rolled_back["percent"]) == ("rolled_back", 100)


def test_commands_work_while_it_is_served(tmp_path):
    with Served(tmp_path):
        assert json.loads(run(tmp_path, "statistics").stdout) == {"devices": 0, "bundles": [], "rejected": {}}


def test_what_is_wrong_is_one_line(tmp_path):
    for words, message in (
        (["publsh", "x"], "dccl-serve: command: expected one of serve, publish, "),
        (["publish", "nowhere", "--percent=10"], "dccl-serve: "),
        (["quarantine", "--reason=NORM"], "dccl-serve: reason: expected one of "),
        (["forget", "nobody"], "dccl-serve: device_id: 'nobody' is not registered\n"),
    ):
        done = run(tmp_path, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert done.stderr.startswith(message)


def test_a_mistyped_folder_is_not_made(tmp_path):
    done = run(tmp_path / "colector", "statistics")
    assert done.stderr == (
        f"dccl-serve: data_dir: expected the folder of a collector, got {tmp_path / 'colector'}, where there is none\n"
    )
    assert not (tmp_path / "colector").exists()


def test_what_the_database_refuses_is_one_line(tmp_path):
    run(tmp_path, "publish", str(TINY), "--percent=10")
    with sqlite3.connect(tmp_path / "store.sqlite") as database:
        database.execute("CREATE TRIGGER no BEFORE UPDATE ON releases BEGIN SELECT RAISE(ABORT, 'not today'); END")
    done = run(tmp_path, "halt", tiny_identity().hex())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith("dccl-serve: store: ")
    assert "not today" in done.stderr


def test_a_port_in_use_is_one_line(tmp_path):
    with Served(tmp_path) as served:
        done = run(tmp_path, f"--port={served.port}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith(f"dccl-serve: host, port: cannot listen on 127.0.0.1, port {served.port} (Address al")


def test_a_served_collector_logs_json(tmp_path):
    with Served(tmp_path, "--log_requests") as served:
        connection = served.connect()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        connection.close()
    lines = [json.loads(line) for line in served.log]
    (request,) = [line for line in lines if line["event"] == "request"]
    assert (request["method"], request["path"], request["status"]) == ("GET", "/healthz", 200)
    assert all({"event", "level", "timestamp", "logger"} <= set(line) for line in lines)

"""Two workers on loopback against one process, a worker that dies, and what TF_CONFIG may say."""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from dccl_tf.distribution import worker_strategy
from tests.training.worker import run

EPOCHS, SECONDS = 3, 240  # loaded machines need long to start


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def workers(folder: Path, dying: str = "") -> list[int]:
    """Exit codes of two workers; the second dies in the epoch `dying`."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    processes = []
    for index, rest in enumerate(([], [dying] if dying else [])):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", "tests.training.worker", str(folder), str(EPOCHS), *rest]
        with (folder / f"worker{index}.log").open("w") as told:
            environment = os.environ | {"TF_CONFIG": json.dumps(config)}
            processes.append(subprocess.Popen(command, env=environment, stdout=told, stderr=told))
    try:
        return [process.wait(SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()


def left_by(folder: Path, index: int) -> list[np.ndarray]:
    with np.load(folder / f"{index}.npz") as archive:
        return [archive[name] for name in archive]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights, losses and validations of one process with the same global batches."""
    cloud, history, _ = run(tmp_path_factory.mktemp("alone"), EPOCHS)
    return [*cloud.get_weights(), history.loss, history.validation]


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_two_workers_end_where_one_ends(alone, tmp_path):
    assert workers(tmp_path) == [0, 0], (tmp_path / "worker0.log").read_text()[-2000:]
    for index in (0, 1):
        same(left_by(tmp_path, index), alone)


def test_when_a_worker_dies_the_job_ends_and_goes_on_from_its_checkpoint(alone, tmp_path):
    other, killed = workers(tmp_path, dying="2")
    assert killed == -9
    assert other != 0
    assert "lost one; start all of them again" in (tmp_path / "worker0.log").read_text()
    assert not list(tmp_path.glob("*.npz"))
    assert workers(tmp_path) == [0, 0], (tmp_path / "worker0.log").read_text()[-2000:]
    for index in (0, 1):
        same(left_by(tmp_path, index), alone)


@pytest.mark.parametrize(
    "config",
    [
        "worker 0",
        '["a:1"]',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "0"}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": "127.0.0.1:2345"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:99999"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", 7]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_config_that_names_no_worker_is_told(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=r"TF_CONFIG: expected .*, got "):
        worker_strategy()


@pytest.mark.parametrize("config", ["", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'])
def test_one_worker_is_one_process(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    assert worker_strategy().num_replicas_in_sync == 1

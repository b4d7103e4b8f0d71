"""`dccl-export`, as a person or a script would call it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dccl_tf.data.schema import InteractionLog
from dccl_tf.data.storage import save_log
from device_runtime import Bundle
from tests.models import small

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def inputs(cloud, tmp_path_factory):
    """A checkpoint and the log that it was trained on, as flags."""
    folder = tmp_path_factory.mktemp("inputs")
    cloud.save(folder / "cloud.keras")
    items = np.arange(1, small.V + 1, dtype=np.int32)  # every item once, so that no filter leaves one out
    offsets = np.array([0, 10, small.V])
    log = InteractionLog(items, np.arange(small.V), None, offsets, small.users(2), small.catalogue())
    return [f"--checkpoint={folder / 'cloud.keras'}", "--dataset=prepared",
            f"--interactions={save_log(log, folder / 'log.npz')}"]  # fmt: skip


def run(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "export_tflite.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_checkpoint_becomes_a_bundle_that_verifies(bundle, inputs, tmp_path):
    done = run(*inputs, f"--output={tmp_path / 'b.zip'}", f"--parent={bundle.path}", "--candidates=9",
               "--train_batch=5", "--device_optimizer=sgd", "--device_learning_rate=0.25")  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = Bundle.open(tmp_path / "b.zip").manifest
    assert (manifest.candidates, manifest.train_batch, manifest.parent) == (9, 5, bundle.identity)
    assert (manifest.training.optimizer, manifest.training.learning_rate) == ("sgd", 0.25)
    assert manifest.protocol == "next"  # the model takes no labels
    verified = run(f"--verify={tmp_path / 'b.zip'}")
    assert (verified.returncode, "checks passed" in verified.stdout) == (0, True), verified.stderr


def test_what_is_wrong_is_one_line_and_exit_code_1(inputs, tmp_path):
    done = run(*inputs, f"--output={tmp_path / 'bundle'}", f"--parent={tmp_path / 'nowhere'}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dccl-export: parent: ")
    assert str(tmp_path / "nowhere") in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()

"""`dccl-export`, as a person or a script would call it."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from dccl_tf.data.schema import InteractionLog
from dccl_tf.data.storage import save_log
from device_runtime import Bundle
from scripts import flags_model
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


def flipped(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :]


def of_a_class_that_is_not_here(content: bytes) -> bytes:
    there, here = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(here, "w") as archive:
        for name in there.namelist():
            archive.writestr(name, there.read(name).replace(b"CloudModel", b"SomeOtherModel"))
    return here.getvalue()


@pytest.mark.parametrize("change", [flipped, of_a_class_that_is_not_here, lambda content: content[:1000]])
def test_a_checkpoint_that_cannot_be_loaded_is_named_in_one_line(cloud, tmp_path, change):
    path = tmp_path / "cloud.keras"
    cloud.save(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"^checkpoint: expected the .keras file of a cloud model, got {path}: .+$"):
        flags_model.load_checkpoint(str(path))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--metapatch_length=16", "metapatch_length: expected 4, as m.keras was made with, got 16"),
        ("--bottlenecks=3,3,4", "bottlenecks: expected 3,3,3, as"),
        ("--junctions=1,0,1", "junctions: expected 1,1,1, as m.keras was made with, got 1,0,1"),
        ("--hidden=10,8", "hidden: expected 10,8,6, as"),
        ("--item_width=32", "item_width: expected 8, as"),
    ],
)
def test_sizes_other_than_the_checkpoint_s_are_named(cloud, word, message):
    with flagsaver.flagsaver():
        flags.FLAGS(["dccl-export", word])
        with pytest.raises(ValueError, match=message):
            flags_model.config_of(flags.FLAGS, "next", cloud, "m.keras")


def test_sizes_are_the_checkpoint_s(cloud):
    with flagsaver.flagsaver():
        flags.FLAGS(["dccl-export", "--metapatch_length=4", "--hidden=10,8,6"])
        config = flags_model.config_of(flags.FLAGS, "next", cloud, "m.keras")
    assert (config.metapatch_length, config.bottlenecks, config.junctions) == (4, (3, 3, 3), (True, True, True))
    assert (config.history_length, config.item_width, config.hidden) == (small.T, 8, (10, 8, 6))


def test_flags_of_training_are_neither_shown_nor_taken(inputs, tmp_path):
    shown = run("--help").stdout
    assert "--device_epochs" in shown
    assert "--basis_epochs" not in shown
    done = run(*inputs, f"--output={tmp_path / 'bundle'}", "--epochs=3")
    assert done.returncode == 1
    wanted = "dccl-export: epochs: expected flags of an export, got one of the cloud's training; a device's is "
    assert done.stderr.strip().splitlines()[-1] == f"{wanted}--device_epochs"


def test_what_is_wrong_is_one_line_and_exit_code_1(inputs, tmp_path):
    done = run(*inputs, f"--output={tmp_path / 'bundle'}", f"--parent={tmp_path / 'nowhere'}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dccl-export: parent: ")
    assert str(tmp_path / "nowhere") in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()

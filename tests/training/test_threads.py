"""Which programs keep an operation on one core."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dccl_tf import threads
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.run_config import DcclConfig, untrained
from dccl_tf.study.cells import Cell
from dccl_tf.study.settings import RUN_DEFAULTS, largest

ROOT = Path(__file__).resolve().parents[2]

_FRESH = """
import json, os, sys
import tensorflow as tf
from dccl_tf import threads
from scripts.flags_model import checkpoint_width

def now(width, positions):
    threads.suit(width, positions)
    return tf.config.threading.get_intra_op_parallelism_threads()

found = {"width": checkpoint_width(sys.argv[1]), "no model": checkpoint_width("no such file")}
found["wide"] = now(65, 1024)
os.environ["TF_NUM_INTRAOP_THREADS"] = "2"
found["asked"] = now(32, 1024)
del os.environ["TF_NUM_INTRAOP_THREADS"]
found["small"] = now(64, 1024)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    log = synthetic_log(1, users=10, items=20)[0]
    path = tmp_path_factory.mktemp("model") / "cloud.keras"
    untrained(log, DcclConfig(protocol="liked", item_width=24, hidden=(8, 8, 8), history_length=5)).save(path)
    return path


def test_small_models_alone_keep_an_operation_on_one_core(checkpoint):
    """65 floats times 1,024 clicks are more than 64 times 1,024, and 0 is TensorFlow's own choice."""
    done = subprocess.run([sys.executable, "-c", _FRESH, str(checkpoint)], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"width": 24, "no model": 0, "wide": 0, "asked": 0, "small": 1}


def test_where_tensorflow_has_computed_already_nothing_changes(checkpoint):
    threads.suit(8, 8)


def test_a_study_is_as_large_as_its_largest_cell():
    """A run's defaults: 32 floats, batches of 1,024; DIN of Table 2: 128 floats; MF: batches of 2,048."""
    small, table, mf = (
        Cell("ml-1m", "next", 0, "dccl", RUN_DEFAULTS),
        *(Cell("ml-1m", "next", 0, j) for j in ("dccl", "mf")),
    )
    assert largest([small]) == (32, 1024)
    assert largest([small, table]) == (128, 1024)
    assert largest([small, mf])[1] == 2048
    assert largest([]) == (0, 0)

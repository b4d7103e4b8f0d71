"""From flags to a log, and the program that prepares data."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from dccl_tf.data.storage import read_log
from scripts.flags_data import SERVES, load_log

ROOT = Path(__file__).parents[2]
CLI = "def cli()"


@pytest.fixture
def load():
    """Loads what flags ask for; the flags are put back afterwards."""
    with flagsaver.flagsaver():
        # Only flags_data's flags are set here, by name: other programs' may be defined in this process too.
        def load(**chosen):
            flags.FLAGS.mark_as_parsed()
            for name, value in chosen.items():
                flags.FLAGS[name].value = value
            return load_log(flags.FLAGS)

        yield load


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("uid,sku,at,stars\n1,7,3,2\n1,8,4,5\n2,7,1,4\n")
    return {
        "dataset": "table", "interactions": str(path), "user_column": "uid", "item_column": "sku",
        "timestamp_column": "at", "rating_column": "stars",
    }  # fmt: skip


def test_a_table(load, table):
    log, oracle = load(**table)
    assert (log.labels.tolist(), oracle) == ([0, 1, 1], None)


@pytest.mark.parametrize(("flag", "value"), [("user_column", "user"), ("profile_columns", ["age"])])
def test_a_missing_column_names_its_flag(load, table, tmp_path, flag, value):
    users = tmp_path / "users.csv"
    users.write_text("user,uid\n1,1\n")
    files = {"users": str(users)} if flag == "profile_columns" else {}
    with pytest.raises(ValueError, match=f"expected a column .*, got .*; --{flag} says what it is called"):
        load(**table | files | {flag: value})


def test_the_threshold_reaches_the_table(load, table):
    assert load(**table, rating_threshold=5.0)[0].labels.tolist() == [0, 1, 0]


def test_the_filters_reach_the_log(load, table):
    assert load(**table, min_user_interactions=2)[0].users.ids.tolist() == [1]


def test_a_synthetic_log_has_an_oracle(load):
    log, oracle = load(dataset="synthetic", synthetic_users=20, synthetic_items=60)
    assert oracle.logits(np.array([0]), np.array([0]), log.items[:1, None]).shape == (1, 1)


def test_filters_that_move_positions_drop_the_oracle(load):
    log, oracle = load(dataset="synthetic", synthetic_users=20, synthetic_items=60, min_user_interactions=12)
    assert len(log.users) < 20
    assert oracle is None


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"interactions": "log.csv"}, "interactions: expected --dataset=table or prepared beside it, got "
                                      "--dataset=ml-100k, the default"),
        ({"users": "users.csv", "dataset": "prepared"}, "users: expected --dataset=table beside it"),
        ({"label_column": "y", "dataset": "synthetic"}, "label_column: expected --dataset=table beside it"),
        ({"id_type": "text"}, "id_type: expected --dataset=table beside it"),
        ({"categories_columns": ["kind"], "dataset": "amazon"}, "categories_columns: expected --dataset=table beside"),
        ({"data_dir": "data", "dataset": "table"}, "data_dir: expected --dataset=ml-100k or ml-1m or amazon beside it"),
        ({"rating_threshold": 3.0, "dataset": "prepared"}, "rating_threshold: expected --dataset=ml-100k or ml-1m or"),
        ({"synthetic_users": 5, "dataset": "ml-1m"}, "synthetic_users: expected --dataset=synthetic beside it"),
    ],
)  # fmt: skip
def test_a_flag_of_another_data_set_is_refused(load, chosen, message):
    with pytest.raises(ValueError, match=message):
        load(**chosen)


def test_every_flag_of_data_says_whom_it_serves():
    """One that acts on all data sets is named here, so that a new one is not forgotten."""
    for_all = {"dataset", "min_user_interactions", "min_item_interactions", "max_user_interactions"}
    defined = {flag.name for flag in flags.FLAGS.flags_by_module_dict()["scripts.flags_data"]}
    assert defined == for_all | set(SERVES)
    data_sets = set(flags.FLAGS["dataset"].parser.enum_values)
    assert {one for served in SERVES.values() for one in served} == data_sets


def test_a_flag_of_another_data_set_is_refused_though_it_says_the_default(tmp_path):
    done = run("--dataset=synthetic", "--user_column=user_id")
    assert done.returncode == 1
    assert done.stderr == (
        "dccl-prepare-data: user_column: expected --dataset=table beside it, got --dataset=synthetic\n"
    )


@pytest.mark.parametrize(("name", "dataset"), [("rating_threshold", "table"), ("synthetic_drift", "synthetic")])
def test_a_number_that_is_none_is_refused_by_its_flag(load, name, dataset):
    with pytest.raises(ValueError, match=f"{name}: expected a finite number, got nan"):
        load(**{"dataset": dataset, name: float("nan")})


def test_as_few_items_as_the_flag_allows_do(load):
    assert load(dataset="synthetic", synthetic_users=5, synthetic_items=16)[0].lengths.tolist() == [8] * 5


def test_a_table_without_a_file_is_refused(load):
    with pytest.raises(ValueError, match="--dataset=table expects --interactions=FILE"):
        load(dataset="table")


def run(*arguments):
    program = [sys.executable, "-m", "scripts.prepare_data", *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_program_writes_a_log_that_loads_by_the_flags(tmp_path, load):
    output = tmp_path / "made.npz"
    done = run("--dataset=synthetic", "--synthetic_users=30", "--synthetic_items=60", f"--output={output}")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    assert lines["users"].strip() == "30"
    assert "made up, seed 0" in lines["source"]
    log, _ = load(dataset="prepared", interactions=str(output))
    assert log.items.tolist() == read_log(output).items.tolist()
    assert len(log.users) == 30


def test_the_program_ends_with_one_line_on_what_is_wrong(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n1,2,soon\n")
    done = run("--dataset=table", f"--interactions={tmp_path / 'log.csv'}")
    assert done.returncode == 1
    assert done.stderr.startswith("dccl-prepare-data: ")
    assert len(done.stderr.splitlines()) == 1
    assert "line 2, column 'timestamp'" in done.stderr


def test_the_program_tells_what_it_may_not_replace_before_it_reads(tmp_path):
    (tmp_path / "out.parquet").write_text("precious")
    done = run("--dataset=table", "--interactions=none.csv", f"--output={tmp_path / 'out.parquet'}")
    assert done.returncode == 1
    assert "output: expected a new folder or one with a prepared log" in done.stderr


def test_the_program_refuses_other_data_s_flags_with_spark_too(tmp_path):
    done = run(
        "--engine=spark", "--dataset=table", "--interactions=none.csv", f"--output={tmp_path / 'out.parquet'}",
        "--max_users=5",
    )  # fmt: skip
    assert done.returncode == 1
    assert "max_users: expected --dataset=amazon beside it, got --dataset=table" in done.stderr


def test_the_program_needs_no_tensorflow():
    program = "import sys, scripts.prepare_data; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "program", sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if CLI in path.read_text())
)
def test_a_program_runs_by_its_path_from_anywhere_without_installing(program, tmp_path):
    # -S leaves out site-packages, and with them a checkout that is installed there; the libraries are named instead.
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {"PYTHONPATH": os.pathsep.join(packages), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-S", str(ROOT / "scripts" / f"{program}.py"), "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.stderr
    assert "\nflags:\n" in done.stdout


def test_without_flags_a_run_is_the_default_one():
    """A default stands in `DcclConfig`, and once more in --help."""
    code = (
        "from absl import flags; from scripts import flags_model; flags.FLAGS(['run']);"
        "from dccl_tf.run_config import DcclConfig;"
        "print([flags_model.config(flags.FLAGS, p) == DcclConfig(protocol=p) for p in ('next', 'liked')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True]\n"

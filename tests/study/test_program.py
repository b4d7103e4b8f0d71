"""The program `dccl-reproduce`: what it lists, and what it refuses."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(folder, *arguments):
    data = ("--dataset=synthetic", "--synthetic_users=20", "--synthetic_items=60", f"--work_dir={folder}")
    program = [sys.executable, "-m", "scripts.reproduce", *data, *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_list_says_what_is_to_do_and_trains_nothing(tmp_path):
    done = run(tmp_path / "work", "--list", "--table=3", "--seeds=0,7", "--protocols=liked")
    names = ("dccl", "din", "din user_ids=True")
    jobs = [f"to do  synthetic liked {name} seed {seed}" for seed in (0, 7) for name in names]
    assert done.stdout.splitlines() == jobs
    assert not (tmp_path / "work").exists()


def test_a_wrong_ablation_ends_with_one_line(tmp_path):
    done = run(tmp_path, "--ablation=beeta")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("got 'beeta'; did you mean 'beta'?")

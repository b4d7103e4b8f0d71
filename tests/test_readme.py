"""The README's examples run as they stand, one after another, and its commands are the ones that CI runs."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "checks passed" in printed
    assert "BAD_MAC" in printed


def test_ci_runs_the_commands():
    ci = (ROOT / ".ci" / "run").read_text()
    for command in re.findall(r"^bash scripts/\w+\.sh", README, flags=re.MULTILINE):
        assert command in ci


def test_every_program_is_a_console_command():
    setup = (ROOT / "setup.py").read_text()
    for command in re.findall(r"^\| `(dccl-[\w-]+)`", README, flags=re.MULTILINE):
        assert f'"{command}"' in setup

"""What every program shares."""

import sys
from datetime import date

from scripts import programs


def test_results_tell_their_command_without_the_places_of_files(monkeypatch):
    words = ["--seeds=0,1", "--data_dir=/home/me/ml-1m.zip", "--output_dir", "/tmp/out", "--list", "--work_dir", "w"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dccl-reproduce", *words])
    told = programs.provenance("dccl-reproduce")
    assert told["command"] == "dccl-reproduce --seeds=0,1 --list"
    assert told["date"] == date.today().isoformat()
    assert told["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))

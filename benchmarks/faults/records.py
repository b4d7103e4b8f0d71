"""A study's result as a JSON file, with all that it takes to run it again."""

import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.interpreter.providers import find_provider


def write(path: Path, argv: Sequence[str], facts: dict[str, Any]) -> None:
    """Writes facts with command, versions, machine and date."""
    runtime = find_provider()
    command = " ".join(["python", os.path.relpath(argv[0]), *sys.argv[1:]])
    provenance = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "runtime": f"{runtime.name} {runtime.version}",
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(provenance | facts, indent=1) + "\n", encoding="utf-8")

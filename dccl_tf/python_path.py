"""Where Python processes that this one starts find the packages of this project."""

import os
from pathlib import Path


def python_path() -> str:
    """PYTHONPATH for them: where this process found the packages, a checkout that is not installed too, and then what
    it says already."""
    root = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))

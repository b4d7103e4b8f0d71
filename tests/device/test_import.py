"""What importing the package brings, and what it must not (hostile row D14); which folder may import which.

The import took 0.1 s with all that a device uses, NumPy and protobuf included; a test cannot hold a busy machine to
that, but it can hold the import to loading nothing before it is used.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import device_runtime

PACKAGE = Path(device_runtime.__file__).parent
FOLDERS = ["interpreter", "bundle", "log", "state", "learning", "upgrade", "cloud"]
PROGRAM = """
import sys
import device_runtime
print([name for name in ("numpy", "google.protobuf", "sqlite3", "tensorflow") if name in sys.modules])
from device_runtime import Device
with Device.open(sys.argv[1], sys.argv[2]) as device:
    device.log(101)
    device.personalize()
    device.rank([101, 102])
print([name for name in ("tensorflow", "keras", "dccl_tf") if name in sys.modules])
"""


def test_import_loads_nothing_heavy_and_a_device_never_imports_tensorflow(bundle_path, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "state"), str(bundle_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert output == ["[]", "[]"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_from_those_before_it(folder):
    code = "".join(file.read_text(encoding="utf-8") for file in (PACKAGE / folder).glob("*.py"))
    imported = set(re.findall(r"^ *(?:from|import) device_runtime\.(\w+)", code, flags=re.MULTILINE))
    assert imported <= {"errors", *FOLDERS[: FOLDERS.index(folder) + 1]}


def test_every_folder_has_its_place():
    assert {file.parent.name for file in PACKAGE.glob("*/__init__.py")} == set(FOLDERS)

"""What importing the package costs, and what it must not bring."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
began = time.perf_counter()
import device_runtime
from device_runtime import Bundle, Device, PersonalizeConfig, load_runtime, training_schedule
print(time.perf_counter() - began)
with Device.open(sys.argv[1], sys.argv[2]) as device:
    device.log(101)
    device.personalize()
    device.rank([101, 102])
print([name for name in ("tensorflow", "keras", "dccl_tf") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def printed(bundle_path, tmp_path_factory):
    """Seconds of the import in three fresh processes, and what the last one had loaded after a device's day."""
    seconds = []
    for _ in range(3):
        state = str(tmp_path_factory.mktemp("state"))
        command = [sys.executable, "-c", PROGRAM, state, str(bundle_path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        seconds.append(float(output[0]))
    return seconds, output[1]


def test_the_device_never_imports_tensorflow(printed):
    assert printed[1] == "[]"


def test_import_takes_less_than_300_milliseconds(printed):
    assert min(printed[0]) < 0.3

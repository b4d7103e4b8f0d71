"""The child process of `fuzzing`: runs cases one after another and prints a line of JSON for each.

python -m benchmarks.faults.fuzzing_worker BUNDLE TARGET BEGIN END PATIENCE
"""

import faulthandler
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.faults.targets import run_case
from benchmarks.faults.workshop import Accepted, Workshop
from device_runtime import DeviceError


def main(bundle: str, target: str, begin: str, end: str, patience: str) -> None:
    faulthandler.enable()
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever C++ prints is not a result
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(bundle), Path(folder))
        results.write("ready\n")
        results.flush()
        for case in range(int(begin), int(end)):
            faulthandler.dump_traceback_later(float(patience), exit=True)
            what, detail = "", ""
            try:
                what = run_case(workshop, target, case)
            except DeviceError as error:
                what = type(error).__name__
            except Accepted as error:
                what, detail = "accepted in silence", str(error)
            except Exception:
                what, detail = "foreign error", traceback.format_exc()
            faulthandler.cancel_dump_traceback_later()
            results.write(json.dumps({"case": case, "what": what, "detail": detail}) + "\n")
            results.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs a target's cases in child processes, so that a crash of the interpreter is one more result."""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FAILURES = ("crash", "hang", "foreign error", "accepted in silence")


def fuzz(bundle: Path, target: str, cases: int, patience: float = 30.0) -> dict[str, Any]:
    """Runs the cases 0..cases-1 of a target in child processes.

    Returns:
      "outcomes": how many ended how, an error of ours by its name; "failures": a dict for each case that failed, with
      its number, what happened (crash, hang, foreign error, accepted) and the traceback.
    """
    outcomes, failures, case = Counter(), [], 0
    while case < cases:
        for result in _worker(bundle, target, case, cases, patience):
            case = result["case"] + 1
            if result["what"] in FAILURES:
                failures.append(result)
            else:
                outcomes[result["what"]] += 1
    return {"outcomes": dict(outcomes), "failures": failures}


def by_reason(failures: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The numbers of the cases that failed in the same place, by that place."""
    cases: dict[str, list[int]] = {}
    for failure in failures:
        places = re.findall(r'File ".*/device_runtime/([\w/]+\.py)", line (\d+)', failure["detail"])
        error = (failure["detail"].strip().splitlines() or [""])[-1].partition(":")[0]
        where = f"{failure['what']} at {':'.join(places[-1]) if places else '?'}: {error[:200]}"
        cases.setdefault(where, []).append(failure["case"])
    return cases


def _worker(bundle: Path, target: str, begin: int, end: int, patience: float) -> Iterator[dict[str, Any]]:
    """Results of a child process, until it is done or dies; of that case too."""
    command = [sys.executable, "-m", "benchmarks.faults.fuzzing_worker", str(bundle), target, str(begin), str(end)]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([*command, str(patience)], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT)
        case = begin
        if not child.stdout.readline():  # "ready"
            errors.seek(0)
            raise RuntimeError(f"the fuzzer's device could not be set up: {errors.read()[-3000:]}")
        for line in child.stdout:
            result = json.loads(line)
            case = result["case"] + 1
            yield result
        if child.wait() or case < end:
            errors.seek(0)
            text = errors.read()
            what = "hang" if "Timeout (" in text else "crash"
            yield {"case": case, "what": what, "detail": f"exit code {child.returncode}: {text[-3000:]}"}

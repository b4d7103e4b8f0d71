"""Feeds damaged files and hostile arguments to a device: no crash, no hang, no silent acceptance, only our own errors.

    python benchmarks/faults/fuzz.py BUNDLE [--cases=10000] [--targets=state,manifest] [--output=results/fuzz.json]
    python benchmarks/faults/fuzz.py BUNDLE --targets=state --only=123        one case again, in this process

Cases run in child processes, so that a crash of the interpreter is one more result; a case that takes longer than
`--patience` seconds is a hang. A case is its target and its number: the same again on every machine.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[2]))  # runs from a checkout that is not installed

from benchmarks.faults import records
from benchmarks.faults.targets import TARGETS, Workshop, run_case

ROOT = Path(__file__).parents[2]
_CASES = flags.DEFINE_integer("cases", 10000, "In all, shared evenly among the targets.", lower_bound=1)
_TARGETS = flags.DEFINE_list("targets", list(TARGETS), "What to damage.")
_ONLY = flags.DEFINE_integer("only", None, "Runs this one case of the only target here; its errors are not caught.")
_PATIENCE = flags.DEFINE_float("patience", 30.0, "Seconds after which a case hangs.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")


def main(argv: Sequence[str]) -> None:
    """Runs the cases and prints a line a target; exits with 1 if any failed."""
    if len(argv) != 2:
        raise app.UsageError("expected one BUNDLE")
    bundle = Path(argv[1])
    if _ONLY.value is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(run_case(Workshop(bundle, Path(folder)), _TARGETS.value[0], _ONLY.value))
        return
    share = -(-_CASES.value // len(_TARGETS.value))
    results = {}
    for target in _TARGETS.value:
        results[target] = fuzz(bundle, target, share, _PATIENCE.value)
        counts = ", ".join(f"{count} {name}" for name, count in sorted(results[target]["outcomes"].items()))
        print(f"{target:12} {share} cases: {counts}; {len(results[target]['failures'])} failures", flush=True)
        for reason, cases in by_reason(results[target]["failures"]).items():
            print(f"  {len(cases)} times, such as case {cases[0]}: {reason}")
    failures = sum(len(result["failures"]) for result in results.values())
    if _OUTPUT.value:
        records.write(
            Path(_OUTPUT.value), argv, {"cases": share * len(results), "failures": failures, "targets": results}
        )
    sys.exit(1 if failures else 0)


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
            if result["what"] in ("crash", "hang", "foreign error", "accepted in silence"):
                failures.append(result)
            else:
                outcomes[result["what"]] += 1
    return {"outcomes": dict(outcomes), "failures": failures}


def by_reason(failures: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The numbers of the cases that failed in the same place, by that place."""
    cases: dict[str, list[int]] = {}
    for failure in failures:
        places = re.findall(r'File ".*/device_runtime/(\w+\.py)", line (\d+)', failure["detail"])
        error = (failure["detail"].strip().splitlines() or [""])[-1].partition(":")[0]
        where = f"{failure['what']} at {':'.join(places[-1]) if places else '?'}: {error[:200]}"
        cases.setdefault(where, []).append(failure["case"])
    return cases


def _worker(bundle: Path, target: str, begin: int, end: int, patience: float) -> Iterator[dict[str, Any]]:
    """Results of a child process, until it is done or dies; of that case too."""
    command = [sys.executable, "-m", "benchmarks.faults.fuzz_worker", str(bundle), target, str(begin), str(end)]
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


if __name__ == "__main__":
    app.run(main)

"""Feeds damaged files and hostile arguments to a device: no crash, no hang, no silent acceptance, only our own errors.

    python benchmarks/faults/fuzz.py BUNDLE [--cases=10000] [--targets=state,manifest] [--output=results/fuzz.json]
    python benchmarks/faults/fuzz.py BUNDLE --targets=state --only=123        one case again, in this process

Cases run in child processes, so that a crash of the interpreter is one more result; a case that takes longer than
`--patience` seconds is a hang. A case is its target and its number: the same again on every machine.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[2]))  # runs from a checkout that is not installed

from benchmarks.faults import records
from benchmarks.faults.fuzzing import by_reason, fuzz
from benchmarks.faults.targets import TARGETS, run_case
from benchmarks.faults.workshop import Workshop

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


if __name__ == "__main__":
    app.run(main)

"""Kills devices at random moments: no acknowledged sample lost, no unreadable state, no upload's number used twice.

    python benchmarks/faults/kills.py BUNDLE NEXT_BUNDLE [--kills=500] [--output=results/faults-kills.json]

The bundles must take vectors of one length, such as two of one run; see `killing` for what is done and checked.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[2]))  # runs from a checkout that is not installed

from benchmarks.faults import records
from benchmarks.faults.killing import study

_KILLS = flags.DEFINE_integer("kills", 500, "How many.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of what is done and when the kill comes.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")


def main(argv: Sequence[str]) -> None:
    """Kills, checks, prints the counts; stops at the first thing that is wrong."""
    if len(argv) != 3:
        raise app.UsageError("expected BUNDLE and NEXT_BUNDLE")
    with tempfile.TemporaryDirectory() as folder:
        kills = tqdm(range(_KILLS.value), "kills", disable=None)
        facts = {"seed": _SEED.value} | study(Path(folder), [Path(path) for path in argv[1:]], kills, _SEED.value)
    print(json.dumps(facts, indent=1))
    if _OUTPUT.value:
        records.write(Path(_OUTPUT.value), argv, facts)


if __name__ == "__main__":
    app.run(main)

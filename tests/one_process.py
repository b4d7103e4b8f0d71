"""Many calls of one program in one process of its own, so that TensorFlow is loaded once.

Programs share names of flags, so no two can be imported into one process, nor one into that of the tests.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOP = """
import contextlib, importlib, io, json, sys
from absl import flags, logging
from absl.testing import flagsaver
program = importlib.import_module(f"scripts.{sys.argv[1]}")
told = sys.stdout
for line in sys.stdin:
    text = io.StringIO()
    logging.get_absl_handler().python_handler.stream = text
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text), flagsaver.flagsaver():
        flags.FLAGS(["program", *json.loads(line)])
        code = program.main(["program"])
    told.write(json.dumps([code, text.getvalue()]) + "\\n")
    told.flush()
"""


@contextmanager
def calls_of(program: str, before: str = "") -> Iterator[Callable[..., tuple[int, str]]]:
    """A function from the words of a command line to the exit code and all that was told.

    Args:
      program: its module in `scripts`.
      before: Python that runs first.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", before + _LOOP, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def call(*words: str) -> tuple[int, str]:
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        code, text = json.loads(process.stdout.readline())
        return code, text

    yield call
    process.stdin.close()
    process.wait(60)

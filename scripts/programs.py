"""What every program needs: its help, its environment before TensorFlow is imported, and errors as one line."""

import importlib.metadata
import logging as python_logging
import os
import platform
import sys
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

# Read when TensorFlow is imported, so set before any module that imports it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from absl import app, flags, logging

from device_runtime.errors import DeviceError

PLACES = ("--data_dir", "--work_dir", "--output_dir", "--output")  # flags that say where files lie

python_logging.getLogger("tensorflow").setLevel(python_logging.ERROR)  # it warns of every new shape of a batch


def start(
    main: Callable[[list[str]], int | None],
    module: str,
    *flag_modules: str,
    shown: Iterable[str] = (),
    words: bool = False,
) -> None:
    """Runs a program as a console command.

    Args:
      main: takes the words of the command line, returns the exit code.
      module: `__name__` of the program, whose docstring is the help's beginning.
      *flag_modules: names of other modules whose flags its `--help` shows.
      shown: single flags of further modules that it shows too.
      words: whether the command line may hold words among the flags.
    """
    # absl's --help shows the docstring and flags of the program that was started: the console command's stub.
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    for name in (module, *flag_modules):
        for flag in flags.FLAGS.flags_by_module_dict().get(name, ()):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    for name in shown:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    flags.FLAGS.set_gnu_getopt(words)
    app.run(main)


def run(name: str, argv: list[str], work: Callable[[], Any]) -> int:
    """Does the work of a program that takes flags alone; what the user can mend ends as one line on standard error and
    the exit code 1."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO)
    try:
        if len(argv) > 1:
            raise ValueError(f"expected flags alone, got {' '.join(argv[1:])}")
        work()
    except _foreseen() as error:
        said = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        print(f"{name}: {said}", file=sys.stderr)
        return 1
    return 0


def _foreseen() -> tuple[type[Exception], ...]:
    """What the user can mend; a database's errors only where a program has one."""
    databases = sys.modules.get("sqlalchemy.exc")
    return (ValueError, OSError, FloatingPointError, DeviceError, *([databases.SQLAlchemyError] if databases else []))


def provenance(name: str) -> dict[str, Any]:
    """What a file of results tells beside its figures: the command that made it, without the places of files, on which
    no figure depends; the versions at work; and the day."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in (
        "tensorflow",
        "keras",
        "numpy",
        "pandas",
        "scikit-learn",
        "protobuf",
        "tflite-runtime",
        "ai-edge-litert",
    ):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    words = sys.argv[1:]
    for place in PLACES:
        if place in words:
            del words[words.index(place) : words.index(place) + 2]
        words = [word for word in words if not word.startswith(f"{place}=")]
    return {"command": " ".join([name, *words]), "versions": versions, "date": date.today().isoformat()}

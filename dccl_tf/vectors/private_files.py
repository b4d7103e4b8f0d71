"""Files of secrets: made on first use, readable by their owner alone."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def private_file(path: str | Path, make: Callable[[], str]) -> str:
    """The text of a file, which is made with what `make` returns if there is none; of several who make it at once, one
    prevails.

    Raises:
      OSError: it cannot be read or made.
      ValueError: it is not text.
    """
    path = Path(path)
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            os.unlink(draft)
    return path.read_text(encoding="utf-8")

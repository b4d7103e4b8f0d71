"""Files that are there as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the `with` block ends: a kill or an error leaves
    what was there before. Processes that write the same file do not meet, and readers of a folder pass over it."""
    temporary = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a kill leaves the old or the new one."""
    with whole(path) as temporary:
        temporary.write_text(text)

"""Files that are there as a whole or not at all, and folders that one process at a time works in."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device_runtime.state.file_lock import FileLock, HeldError

# What zipfile raises for an archive with wrong bytes in it, beside OSError and EOFError.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the `with` block ends: a kill or an error leaves
    what was there before. Processes that write the same file do not meet, and readers of a folder pass over it. What is
    written may be a folder, where nothing is in its place yet."""
    temporary = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


@contextmanager
def in_place_of(folder: Path) -> Iterator[Path]:
    """As `whole`, for a folder that may be there already: the old one goes once the new one is complete. A kill in the
    moment between leaves both, under other names beside it."""
    folder = folder.resolve() if folder.is_symlink() else folder
    aside = folder.with_name(f".replaced-{os.getpid()}-{folder.name}")
    try:
        with whole(folder) as temporary:
            yield temporary
            if folder.exists():
                os.replace(folder, aside)
    except BaseException:
        if aside.exists() and not folder.exists():
            os.replace(aside, folder)
        raise
    if aside.exists():
        shutil.rmtree(aside)


@contextmanager
def alone_in(folder: Path, argument: str) -> Iterator[None]:
    """Holds a folder, made if missing, for as long as the `with` block lasts.

    Args:
      folder: what two processes must not work in at once.
      argument: by which the caller knows it, for the error.

    Raises:
      ValueError: another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock")
    except HeldError:
        raise ValueError(f"{argument}: another process works in {folder}; wait for it, or name another") from None
    try:
        yield
    finally:
        lock.close()


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8 so that a kill leaves the old or the new one."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

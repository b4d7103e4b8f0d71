"""Files that are there whole or not at all, also after a power cut."""

import os
from pathlib import Path

from device_runtime.errors import StorageError


def read_file(path: Path) -> bytes | None:
    """The content; None if there is no such file. Raises StorageError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Writes a file beside `path`, forces it to the disk and renames it over `path`.

    Raises:
      StorageError: that failed; what was at `path` is as it was.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); the previous one is intact") from error


def move_file(path: Path, place: Path) -> None:
    """Renames a file, over another one if there is one. Raises StorageError; both are then as they were."""
    try:
        os.replace(path, place)
        sync_folder(place.parent)
    except OSError as error:
        raise StorageError(f"{place}: cannot be written ({error.strerror})") from error


def remove_file(path: Path) -> None:
    """Removes a file, if it is there. Raises StorageError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be removed ({error.strerror})") from error


def sync_file(path: Path) -> None:
    """Forces a file that was written to the disk. Raises OSError."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes a rename durable. Windows has no such call and does without."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

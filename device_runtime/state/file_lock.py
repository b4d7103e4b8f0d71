"""A lock that one process holds, and that the operating system drops when the process ends, however it ends."""

import errno
import sys
from pathlib import Path

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # the last is what Windows says


class HeldError(Exception):
    """Another process, or another object of this one, holds the lock."""


class FileLock:
    """An open file that is locked until `close`."""

    def __init__(self, path: Path) -> None:
        """Raises:
        HeldError: somebody else holds it.
        OSError: the file cannot be opened, or the file system has no locks.
        """
        self.file = open(path, "a+b")  # noqa: SIM115 (held open for as long as the lock lasts)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            if error.errno in _HELD:
                raise HeldError(str(path)) from error
            raise

    def close(self) -> None:
        if sys.platform != "win32" and not self.file.closed:
            import fcntl

            fcntl.flock(self.file, fcntl.LOCK_UN)  # also where a forked child still holds the file open
        self.file.close()

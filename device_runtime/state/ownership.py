"""A lock that one process owns: threads take turns, a fork of the process is refused."""

import os
import threading
from types import TracebackType

from device_runtime.errors import StateError


class Owner:
    """A reentrant lock. In a child made by `fork` it raises instead of waiting: there the interpreter, the database and
    other locks are copies in an unknown state, and a lock that was held by a thread of the parent would stay held."""

    def __init__(self) -> None:
        self._process, self._lock = os.getpid(), threading.RLock()

    @property
    def here(self) -> bool:
        """Whether this is the process that made it."""
        return self._process == os.getpid()

    def __enter__(self) -> "Owner":
        if not self.here:
            raise StateError(
                f"device: expected to be used by process {self._process}, which opened it, got process {os.getpid()}, "
                "a fork of it; open the device in the process that uses it, after the fork"
            )
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

"""A lock that one process owns: threads take turns, a fork of the process is refused."""

import os
import threading
from types import TracebackType

from device_runtime.errors import StateError


class Owner:
    """A lock, reentrant unless told otherwise. In a child made by `fork` it raises instead of waiting: there the
    interpreter, the database and other locks are copies in an unknown state, and a lock that was held by a thread of
    the parent would stay held."""

    def __init__(self, reentrant: bool = True) -> None:
        self._process, self._lock, self._reentrant = os.getpid(), threading.RLock(), reentrant
        self._thread: int | None = None  # that holds it, where no thread may twice

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
        if not self._reentrant and self._thread == threading.get_ident():
            raise StateError(
                "device: expected no call of personalize, reset, upgrade, rollback or close from within one of them, "
                "such as from on_step or a signal's handler; return True from should_stop, and call it afterwards"
            )
        self._lock.acquire()
        if not self._reentrant:
            self._thread = threading.get_ident()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._reentrant:
            self._thread = None
        self._lock.release()

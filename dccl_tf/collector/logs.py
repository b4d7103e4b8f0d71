"""Structured logs: one JSON object a line on standard error, of the collector and of what it is built on alike."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

TELL_SECONDS = 1.0  # between two lines of a CountingLog


def configure(level: str = "INFO") -> None:
    """Sends the whole process's logs to standard error as JSON."""
    shared = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[remove_meta, structlog.processors.JSONRenderer()]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def logger() -> Any:
    """The collector's logger."""
    return structlog.stdlib.get_logger("dccl.collector")


class CountingLog:
    """Tells how often things happened, at most once a second: noise from the network fills no log."""

    def __init__(self, tell: Callable[..., None], event: str) -> None:
        """Takes a method of a logger, and the name of the event."""
        self._tell, self._event = tell, event
        self._counts: Counter[str] = Counter()
        self._told_at = -TELL_SECONDS

    def add(self, what: str) -> None:
        """Counts one, and tells if it is time."""
        self._counts[what] += 1
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Tells what has not been told."""
        if self._counts:
            self._tell(self._event, counts=dict(self._counts))
            self._counts.clear()
            self._told_at = time.monotonic()

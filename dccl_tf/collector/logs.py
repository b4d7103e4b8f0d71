"""Structured logs: one JSON object a line on standard error, of the collector and of what it is built on alike."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import structlog

from protos import dccl_pb2

REJECTIONS_SECONDS = 1.0  # between two lines about rejected uploads: noise from the network fills no log


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


class RejectionLog:
    """Tells of rejected uploads by counts, at most once a second."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()
        self._told_at = -REJECTIONS_SECONDS

    def add(self, receipts: Iterable[dccl_pb2.Receipt]) -> None:
        """Counts the rejected among receipts, and tells if it is time."""
        for receipt in receipts:
            if receipt.status == dccl_pb2.Receipt.REJECTED:
                self._counts[dccl_pb2.Reason.Name(receipt.reason)] += 1
        if self._counts and time.monotonic() - self._told_at >= REJECTIONS_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Tells what has not been told."""
        if self._counts:
            self._log.warning("uploads rejected", reasons=dict(self._counts))
            self._counts.clear()
            self._told_at = time.monotonic()

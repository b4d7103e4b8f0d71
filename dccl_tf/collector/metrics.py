"""What a collector counts, for Prometheus."""

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from protos import dccl_pb2

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
GROUPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)

_STATUS, _REASON = dccl_pb2.Receipt.Status.Name, dccl_pb2.Reason.Name


class Metrics:
    """The counters of one collector."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Creates them; `waiting` tells how many uploads wait for the store now."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        labels = ["endpoint", "method", "status"]
        self._requests = Counter("dccl_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "dccl_request_seconds", "Until the answer's end.", ["endpoint"], registry=registry, buckets=SECONDS
        )
        self._uploads = Counter("dccl_uploads", "Uploads judged.", ["status", "reason"], registry=registry)
        self._group = Histogram("dccl_group_uploads", "Uploads a commit.", registry=registry, buckets=GROUPS)
        self._group_seconds = Histogram("dccl_group_seconds", "Time of a commit.", registry=registry, buckets=SECONDS)
        Gauge("dccl_uploads_waiting", "Uploads not yet answered.", registry=registry).set_function(waiting)

    def request(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        self._requests.labels(endpoint, method, status).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def uploads(self, receipts: Iterable[dccl_pb2.Receipt]) -> None:
        """Counts judged uploads."""
        for receipt in receipts:
            self._uploads.labels(_STATUS(receipt.status), _REASON(receipt.reason)).inc()

    def group(self, uploads: int, seconds: float) -> None:
        """Counts a commit."""
        self._group.observe(uploads)
        self._group_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)

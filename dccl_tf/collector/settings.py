"""Where a collector keeps things, and its bounds."""

from dataclasses import dataclass, field
from pathlib import Path

from dccl_tf.arguments import at_least_one
from dccl_tf.vectors import Limits


@dataclass(frozen=True)
class Settings:
    """All that a collector is told; what is not told is a file in `data_dir`."""

    data_dir: str | Path = "collector"  # made on first use
    store: str | None = None  # URL of the database; by default SQLite in data_dir
    bundles: str | None = None  # folder or fsspec URL of the bundles' files; by default in data_dir
    secret_file: str | Path | None = None  # what devices' keys are encrypted under; made in data_dir by default
    operator_token_file: str | Path | None = None  # made in data_dir by default
    enrolment_token_file: str | Path | None = None  # without one anybody may register a device
    limits: Limits = field(default_factory=Limits)
    batch_bytes: int = 8 * 2**20  # of one batch of uploads
    batch_uploads: int = 10_000
    waiting: int = 20_000  # uploads that wait for the store at most; more are told to come back
    bundle_bytes: int = 512 * 2**20  # of a bundle that is published
    body_seconds: float = 30.0  # for a request's body to arrive; a bundle has 20 times as long
    enrolments_per_second: float = 100.0  # devices that register; more are told to come back
    keep_days: float | None = None  # vectors older than that are deleted, hourly; None keeps them

    def __post_init__(self) -> None:
        at_least_one(
            batch_bytes=self.batch_bytes,
            batch_uploads=self.batch_uploads,
            waiting=self.waiting,
            bundle_bytes=self.bundle_bytes,
        )
        if not self.body_seconds > 0.0:
            raise ValueError(f"body_seconds: expected more than 0, got {self.body_seconds}")
        if not self.enrolments_per_second > 0.1:
            raise ValueError(f"enrolments_per_second: expected more than 0.1, got {self.enrolments_per_second}")
        if self.keep_days is not None and not self.keep_days > 0.0:
            raise ValueError(f"keep_days: expected more than 0, got {self.keep_days}")
        if self.store_url.startswith("sqlite") and self.store_url.split("?")[0] in ("sqlite://", "sqlite:///:memory:"):
            raise ValueError(f"store: expected a database that outlives the process, got {self.store_url}")
        if self.waiting < self.batch_uploads:
            raise ValueError(f"waiting: expected at least batch_uploads ({self.batch_uploads}), got {self.waiting}")

    @property
    def store_url(self) -> str:
        """Of the database."""
        return self.store or f"sqlite:///{Path(self.data_dir).resolve() / 'store.sqlite'}"

    @property
    def bundles_url(self) -> str:
        """Of the bundles' files."""
        return self.bundles or str(Path(self.data_dir).resolve() / "bundles")

    def path(self, given: str | Path | None, name: str) -> Path:
        """Of a file: the given one, or the one of this name in data_dir."""
        return Path(given) if given else Path(self.data_dir) / name

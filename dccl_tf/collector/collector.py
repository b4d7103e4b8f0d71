"""A collector: the store, its one writer, the bundles, and who may do what; under the HTTP of the modules beside it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from dccl_tf.collector import enrolment
from dccl_tf.collector.bundle_files import BundleFiles, MissingFileError
from dccl_tf.collector.group_commit import GroupCommit
from dccl_tf.collector.logs import CountingLog, logger
from dccl_tf.collector.metrics import Metrics
from dccl_tf.collector.releases import Releases
from dccl_tf.collector.rollout import ACTIVE, Release
from dccl_tf.collector.settings import Settings
from dccl_tf.collector.tokens import Token
from dccl_tf.vectors import Ingest, KeyVault, VectorStore
from device_runtime import Bundle
from protos import dccl_pb2

Answer = TypeVar("Answer")

PRUNE_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
BATCHES_AT_ONCE = 32  # whose bodies may be in memory, 8 MiB each; nobody needs a key to send one


class Collector:
    """Made by `Collector.open`. Methods that are coroutines belong to one event loop."""

    def __init__(
        self, settings: Settings, store: VectorStore, files: BundleFiles, operator: Token, enrolment_token: Token | None
    ) -> None:
        self.settings, self.store, self.files = settings, store, files
        self.operator, self.enrolment_token = operator, enrolment_token
        self.releases = Releases(store)
        self.log = logger()
        self._rejections = CountingLog(self.log.warning, "uploads rejected")
        self.store_failures = CountingLog(self.log.error, "store failed")
        # One thread writes: in SQLite writers would wait for each other anyway, and not in the order of asking.
        self._writer = ThreadPoolExecutor(1, "dccl-writer")
        self.metrics = Metrics(lambda: self._uploads.waiting)
        receive = Ingest(store, settings.limits).receive_many
        self._uploads = GroupCommit(receive, self._writer, waiting=settings.waiting, observe=self.metrics.group)
        self.batches = asyncio.Semaphore(BATCHES_AT_ONCE)
        self.enrolment_pace = enrolment.Pace(settings.enrolments_per_second)
        self._enrolments = GroupCommit(partial(enrolment.enrol, store), self._writer)
        self._key_changes = GroupCommit(partial(enrolment.change_keys, store), self._writer)

    @classmethod
    def open(cls, settings: Settings) -> "Collector":
        """Opens or makes all that `settings` name.

        Raises:
          ValueError: a setting is not as it should be, or the database cannot be opened.
          OSError: a file or folder cannot be read or made.
        """
        with _named("data_dir", settings.data_dir):
            Path(settings.data_dir).mkdir(parents=True, exist_ok=True)
        with _named("secret_file", file := settings.path(settings.secret_file, "secret")):
            vault = KeyVault.from_file(file)
        with _named("operator_token_file", file := settings.path(settings.operator_token_file, "operator_token")):
            operator = Token.from_file(file, make=True)
        enrolment_token = None
        if settings.enrolment_token_file:
            with _named("enrolment_token_file", settings.enrolment_token_file):
                enrolment_token = Token.from_file(Path(settings.enrolment_token_file), make=False)
        with _named("bundles", settings.bundles_url):
            files = BundleFiles(settings.bundles_url)
        return cls(settings, VectorStore.open(settings.store_url, vault), files, operator, enrolment_token)

    def close(self) -> None:
        """Ends what is under way, and closes the store."""
        self._writer.shutdown()
        self._rejections.tell()
        self.store_failures.tell()
        self.store.close()

    async def receive(self, bodies: Sequence[bytes]) -> list[dccl_pb2.Receipt]:
        """Judges uploads; on return they are in the store or in quarantine, durably."""
        receipts = await self._uploads.submit(bodies)
        self.metrics.uploads(receipts)
        for receipt in receipts:
            if receipt.status == dccl_pb2.Receipt.REJECTED:
                self._rejections.add(dccl_pb2.Reason.Name(receipt.reason))
        return receipts

    async def enrol(self, device_id: str) -> dccl_pb2.Credentials | None:
        """A new device and its key; None if the id is taken."""
        return (await self._enrolments.submit([device_id]))[0]

    async def change_key(self, body: bytes) -> dccl_pb2.Receipt:
        """Changes a device's key as a serialised `SignedKeyChange` asks."""
        return (await self._key_changes.submit([body]))[0]

    async def write(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """Runs a function that writes to the store, between two groups."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, partial(work, *arguments))

    def publish(self, path: str | Path, percent: float | None) -> Release:
        """Verifies a bundle, a folder or a zip, stores its files and releases it to a share of devices. Of one that was
        published before, files that are gone are stored again.

        Raises:
          BundleError: it is no bundle that this version knows, or damaged.
          ValueError: `percent` is not in 0..100, or it was published before and is whole.
        """
        bundle = Bundle.open(path)
        release = self.releases.publish(
            bundle.identity, bundle.manifest.metapatch_length, percent, lambda: self.files.save(bundle), self._is_whole
        )
        self.log.info("bundle published", bundle=bundle.identity.hex(), percent=release.percent, bytes=release.sizes)
        return release

    def check_releases(self) -> None:
        """Raises MissingFileError if a file is gone of a bundle that devices are offered now."""
        for release in self.releases.newest_first():
            if release.state == ACTIVE and release.percent > 0.0:
                self.files.check_whole(release.bundle, release.sizes)
                if release.percent >= 100.0:  # nobody is offered an older one
                    return

    def change_release(self, bundle: bytes, percent: float | None = None, state: str | None = None) -> Release:
        """Widens, narrows, halts, rolls back or resumes a release; see `Releases.change`."""
        release = self.releases.change(bundle, percent, state)
        self.log.info("release changed", bundle=bundle.hex(), percent=release.percent, state=release.state)
        return release

    def _is_whole(self, release: Release) -> bool:
        try:
            self.files.check_whole(release.bundle, release.sizes)
        except MissingFileError:
            return False
        return True

    async def prune_for_ever(self) -> None:
        """Deletes vectors older than the settings say, now and every hour."""
        while self.settings.keep_days is not None:
            try:
                steps, pruned = self.store.prune(time.time() - self.settings.keep_days * DAY_SECONDS), 0
                while count := await self.write(next, steps, 0):
                    pruned += count
                self.log.info("vectors pruned", count=pruned)
            except Exception as error:  # the database may be away now and back in an hour
                self.log.error("pruning failed", error=str(error))
            await asyncio.sleep(PRUNE_SECONDS)

    async def newest_releases(self) -> tuple[Release, ...]:
        """Newest first, as they were a second ago at most."""
        known = self.releases.cached()
        return known if known is not None else await run_in_threadpool(self.releases.newest_first)


@contextmanager
def _named(setting: str, path: str | Path) -> Iterator[None]:
    """Errors name the setting that they come of, and its path."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{setting}: {path} cannot be read or made ({error.strerror or error})") from error
    except ValueError as error:
        if str(error).startswith(f"{setting}: "):
            raise
        raise ValueError(f"{setting}: {error}") from error

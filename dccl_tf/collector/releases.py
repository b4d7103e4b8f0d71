"""Releases in the store: published, widened, halted, rolled back."""

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sql

from dccl_tf.collector.rollout import ACTIVE, STATES, Release
from dccl_tf.vectors import VectorStore
from dccl_tf.vectors.tables import RELEASES

FRESH_SECONDS = 1.0  # for which devices may be answered from memory after another process changed a release

_KNOWN = "bundle: {} was published before; change its percent or its state instead"


class Releases:
    """All releases of a store."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._cached: tuple[Release, ...] = ()
        self._cached_at = -FRESH_SECONDS

    def newest_first(self) -> tuple[Release, ...]:
        """As they are now."""
        query = sql.select(RELEASES).order_by(RELEASES.c.number.desc())
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        releases = tuple(Release(**row._asdict() | {"bundle": bytes(row.bundle)}) for row in rows)
        self._cached, self._cached_at = releases, time.monotonic()
        return releases

    def cached(self) -> tuple[Release, ...] | None:
        """As they were a second ago at most; None if they must be read again."""
        return self._cached if time.monotonic() - self._cached_at < FRESH_SECONDS else None

    def publish(
        self,
        bundle: bytes,
        metapatch_length: int,
        percent: float | None,
        save: Callable[[], dict[str, int]],
        is_whole: Callable[[Release], bool] = lambda release: True,
    ) -> Release:
        """Makes a bundle known to the store, and the newest release, for a share of devices. One that is known stays
        where it is among them: its files are written again if some are gone.

        Args:
          bundle: identity.
          metapatch_length: K.
          percent: of devices, 0 to 100; None is 0 for a new bundle, and leaves the share of a known one as it is.
          save: writes the files; returns their bytes by content coding.
          is_whole: whether the files of a release are there.

        Raises:
          ValueError: `percent` is not as above, or the bundle was published before and is whole.
        """
        _check(percent, ACTIVE)
        for known in self.newest_first():
            if known.bundle == bundle and is_whole(known):
                raise ValueError(_KNOWN.format(bundle.hex()))
            if known.bundle == bundle:
                return self._update(bundle, sizes=save(), **({} if percent is None else {"percent": percent}))
        row = {"bundle": bundle, "percent": percent or 0.0, "state": ACTIVE, "sizes": save()}
        self._store.register_bundle(bundle, metapatch_length)
        now = time.time()
        try:
            with self._store.begin() as connection:
                connection.execute(sql.insert(RELEASES), row | {"published_at": now, "changed_at": now})
        except sql.exc.IntegrityError as error:  # by another one at this moment: the same files
            raise ValueError(_KNOWN.format(bundle.hex())) from error
        return self._named(bundle)

    def change(self, bundle: bytes, percent: float | None = None, state: str | None = None) -> Release:
        """Sets the share of devices, the state, or both.

        Raises:
          LookupError: the bundle was never published.
          ValueError: a value is not as it should be.
        """
        _check(percent, state)
        given = (("percent", percent), ("state", state))
        return self._update(bundle, **{name: value for name, value in given if value is not None})

    def _update(self, bundle: bytes, **values: Any) -> Release:
        with self._store.begin() as connection:
            statement = sql.update(RELEASES).where(RELEASES.c.bundle == bundle)
            if not connection.execute(statement.values(changed_at=time.time(), **values)).rowcount:
                raise LookupError(f"bundle: {bundle.hex()} was never published")
        return self._named(bundle)

    def _named(self, bundle: bytes) -> Release:
        return next(release for release in self.newest_first() if release.bundle == bundle)


def _check(percent: float | None, state: str | None) -> None:
    if percent is not None and not 0.0 <= percent <= 100.0:
        raise ValueError(f"percent: expected 0 to 100, got {percent!r:.40}")
    if state is not None and state not in STATES:
        raise ValueError(f"state: expected one of {', '.join(STATES)}, got {state!r}")

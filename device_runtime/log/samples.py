"""The log of a device's interactions, in raw ids, so that it outlives a vocabulary.

History and training samples are kept apart. `history` has one row for each interaction, oldest first. `samples`
has the rows to train on: the interaction's own item and what was shown beside it and skipped. A sample's history
is whatever comes before its interaction, so nothing is stored twice. `met` remembers longer than either which items the
user has met, so that neither a ranking nor a drawn negative takes one for new.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np

from device_runtime.bundle.vocabulary import RawId
from device_runtime.errors import InputError
from device_runtime.log.database import Database

_DAY = 86_400  # seconds
_LARGEST = 2**53  # beyond any log, and within SQLite's numbers
_KEPT = 0.9  # share of a bound to which the log is cut, so that most appends delete nothing


@dataclass(frozen=True)
class LogLimits:
    """Bounds of the log. What passes one is cut at the old end, whole interactions, to nine tenths of it.

    Cutting samples never shortens the history that rankings or the other samples use. Age is no bound unless asked for:
    times come from the app, and one that tells them in another unit would lose its log.
    """

    samples: int = 20_000  # training rows; the newest interaction's are kept in any case
    days: float | None = None  # age of a sample, against the newest interaction or the clock, whichever is earlier
    history: int = 10_000  # interactions; never fewer than the bundle's T, and T before the oldest sample
    met: int = 50_000  # newest interactions whose items count as met

    def __post_init__(self) -> None:
        for name, kind in (("samples", Integral), ("days", Real), ("history", Integral), ("met", Integral)):
            value = getattr(self, name)
            if value is None and name == "days":
                continue
            if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < _LARGEST:
                what = "a whole number of at least 1" if kind is Integral else "a number above 0"
                raise InputError(f"limits.{name}: expected {what}, got {value!r}")

    @property
    def samples_left(self) -> int:
        """Rows to which a log with more than `samples` is cut; whole interactions stay, and so a few less may."""
        return max(int(_KEPT * self.samples), 1)


@dataclass(frozen=True)
class Interaction:
    """One interaction in raw ids."""

    item: RawId
    label: int  # 1 liked or clicked, 0 not
    timestamp: int  # seconds
    skipped: tuple[RawId, ...] = ()


@dataclass(frozen=True)
class History:
    """Interactions, oldest first."""

    items: list[RawId]
    labels: np.ndarray  # int32


@dataclass(frozen=True)
class LoggedSamples:
    """Training rows with the history that they rely on, in the order in which they were logged."""

    history: History  # n interactions
    items: list[RawId]  # [N] of each row
    labels: np.ndarray  # [N] float32
    at: np.ndarray  # [N] index of the row's interaction in `history`: what is before it is the row's history
    met: list[RawId] = field(default_factory=list)  # items that the user has met, those of `history` and older ones
    first: int = 0  # position of the oldest interaction of `history`
    oldest: int = 0  # number of the oldest row
    newest: int = 0  # number of the newest row; 0 if there is none. Equal first, oldest and newest are equal rows


class SampleLog:
    """The log in a device's database. Safe under threads."""

    def __init__(self, database: Database, limits: LogLimits | None = None) -> None:
        self._database, self.limits = database, limits or LogLimits()

    def append(
        self, interactions: Sequence[Interaction], train: bool = True, length: int = 0, now: int | None = None
    ) -> list[RawId]:
        """Adds interactions in one transaction; on return they are on the disk, and the log is within its limits.

        Args:
          interactions: oldest first.
          train: False adds them to the history alone.
          length: T of the bundle in use.
          now: the clock, in seconds: samples age by it, unless the newest interaction is older still.

        Returns:
          The items that no longer count as met.
        """
        if not interactions:
            return []
        with self._database.transaction() as db:
            for one in interactions:
                position = db.execute(
                    "INSERT INTO history (item, label, timestamp) VALUES (?, ?, ?)",
                    (one.item, one.label, one.timestamp),
                ).lastrowid
                db.execute(
                    "INSERT INTO met VALUES (?1, ?2, ?2) ON CONFLICT (item) DO UPDATE SET last = excluded.last",
                    (one.item, position),
                )
                if train:
                    rows = [(position, one.item, one.label), *((position, item, 0) for item in one.skipped)]
                    db.executemany("INSERT INTO samples (position, item, label) VALUES (?, ?, ?)", rows)
            newest = interactions[-1].timestamp
            return self._bound(db, length, newest if now is None else min(newest, now))

    def newest(self, count: int) -> History:
        """The newest `count` interactions, oldest of them first."""
        query = "SELECT item, label FROM history ORDER BY position DESC LIMIT ?"
        rows = self._database.query(query, (count,))[::-1]
        return History([item for item, _ in rows], np.array([label for _, label in rows], np.int32))

    def met(self) -> set[RawId]:
        """Every item that counts as met: those of the history, and older ones within the limit."""
        return {item for (item,) in self._database.query("SELECT item FROM met")}

    def read(self, until: int | None = None) -> LoggedSamples:
        """The samples and their history, as of the interaction of the newest sample: what was remembered after it is
        left out, so that the same samples read later are the same.

        Args:
          until: the log as it was when the row of this number was its newest, but for what has been cut since; by
            default as it is now.
        """
        with self._database.transaction() as db:
            newest = "SELECT max(position) FROM samples WHERE ?1 IS NULL OR number <= ?1"
            (end,) = db.execute(newest, (until,)).fetchone()
            rows = "SELECT position, item, label FROM history WHERE ?1 IS NULL OR position <= ?1 ORDER BY position"
            history = db.execute(rows, (end,)).fetchall()
            rows = "SELECT number, position, item, label FROM samples WHERE ?1 IS NULL OR number <= ?1 ORDER BY number"
            samples = db.execute(rows, (until,)).fetchall()
            met = db.execute("SELECT item FROM met WHERE ?1 IS NULL OR first <= ?1", (end,)).fetchall()
        positions = np.array([position for position, _, _ in history], np.int64)
        at = np.searchsorted(positions, np.array([position for _, position, _, _ in samples], np.int64))
        return LoggedSamples(
            history=History([item for _, item, _ in history], np.array([label for _, _, label in history], np.int32)),
            items=[item for _, _, item, _ in samples],
            labels=np.array([label for _, _, _, label in samples], np.float32),
            at=at,
            met=[item for (item,) in met],
            first=history[0][0] if history else 0,
            oldest=samples[0][0] if samples else 0,
            newest=samples[-1][0] if samples else 0,
        )

    def counts(self) -> dict[str, int]:
        """Number of interactions in the history, of samples, and of interactions that samples belong to."""
        ((history, samples, interactions),) = self._database.query(
            "SELECT (SELECT count(*) FROM history), (SELECT count(*) FROM samples), "
            "(SELECT count(DISTINCT position) FROM samples)"
        )
        return {"history": history, "samples": samples, "sample_interactions": interactions}

    def prune(self, keep: int, length: int) -> None:
        """Deletes all but the samples of the newest `keep` interactions that have some, and all history but the
        newest `length` interactions before the oldest kept sample (or, with none, the newest `length`)."""
        keep = min(keep, _LARGEST)
        with self._database.transaction() as db:
            query = "SELECT DISTINCT position FROM samples ORDER BY position DESC LIMIT 1 OFFSET ?"
            oldest = db.execute(query, (keep - 1,)).fetchone() if keep else None
            if keep and oldest is None:
                oldest = db.execute("SELECT min(position) FROM samples").fetchone()
            first = oldest[0] if oldest and oldest[0] is not None else _next_position(db)
            db.execute("DELETE FROM samples WHERE position < ?", (first,))
            query = "SELECT position FROM history WHERE position < ? ORDER BY position DESC LIMIT 1 OFFSET ?"
            before = db.execute(query, (first, length)).fetchone()
            if before:
                db.execute("DELETE FROM history WHERE position <= ?", before)

    def _bound(self, db: sqlite3.Connection, length: int, clock: int) -> list[RawId]:
        """Cuts what is beyond the limits. Only the old end is looked at: positions and numbers have no gaps.

        Returns:
          The items that no longer count as met.
        """
        limits, end = self.limits, _next_position(db)
        oldest = _first_by_count(db, limits)
        if limits.days is not None:
            oldest = max(oldest, _first_by_age(db, clock, limits.days * _DAY))
        if oldest:
            db.execute("DELETE FROM samples WHERE position < ?", (oldest,))
        most = max(limits.history, length)
        (first,) = db.execute("SELECT min(position) FROM history").fetchone()
        if end - first > most:
            (sample,) = db.execute("SELECT min(position) FROM samples").fetchone()
            kept = end - max(int(_KEPT * most), length, 1)
            db.execute(
                "DELETE FROM history WHERE position < ?", (min(kept, end if sample is None else sample - length),)
            )
        beyond = (end - limits.met,)
        forgotten = [item for (item,) in db.execute("SELECT item FROM met WHERE last < ?", beyond)]
        if forgotten:
            db.execute("DELETE FROM met WHERE last < ?", beyond)
        return forgotten


def _next_position(db: sqlite3.Connection) -> int:
    return db.execute("SELECT coalesce(max(position), 0) + 1 FROM history").fetchone()[0]


def _first_by_count(db: sqlite3.Connection, limits: LogLimits) -> int:
    """Position of the oldest interaction whose samples stay, by their number; 0 if all do."""
    ends = "SELECT (SELECT min(number) FROM samples), (SELECT max(number) FROM samples)"
    first, last = db.execute(ends).fetchone()
    if first is None or last - first + 1 <= limits.samples:
        return 0
    number = last - limits.samples_left  # the newest row to go
    (cut,) = db.execute("SELECT position FROM samples WHERE number = ?", (number,)).fetchone()
    (newest,) = db.execute("SELECT position FROM samples WHERE number = ?", (last,)).fetchone()
    return min(cut + 1, newest)


def _first_by_age(db: sqlite3.Connection, clock: int, seconds: float) -> int:
    """Position of the oldest interaction whose samples stay, by their age; 0 if all do."""
    oldest = db.execute(
        "SELECT position, timestamp FROM history WHERE position = (SELECT min(position) FROM samples)"
    ).fetchone()
    if oldest is None or oldest[1] >= clock - seconds:
        return 0
    young = "SELECT position FROM history WHERE position > ? AND timestamp >= ? ORDER BY position LIMIT 1"
    return db.execute(young, (oldest[0], clock - _KEPT * seconds)).fetchone()[0]

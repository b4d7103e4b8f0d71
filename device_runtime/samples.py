"""The log of a device's interactions: SQLite, durable once acknowledged, raw ids so that it outlives a vocabulary.

History and training samples are kept apart. `history` has one row for each interaction, oldest first. `samples`
has the rows to train on: the interaction's own item and what was shown beside it and skipped. A sample's history
is whatever comes before its interaction, so nothing is stored twice.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_runtime.errors import StateError, StorageError
from device_runtime.vocabulary import RawId

SCHEMA = 1
_TABLES = """
CREATE TABLE history (position INTEGER PRIMARY KEY AUTOINCREMENT, item NOT NULL, label INTEGER NOT NULL,
                      timestamp INTEGER NOT NULL);
CREATE TABLE samples (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, item NOT NULL,
                      label INTEGER NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


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
    """All training rows with the history that they rely on, in the order in which they were logged."""

    history: History  # n interactions
    items: list[RawId]  # [N] of each row
    labels: np.ndarray  # [N] float32
    at: np.ndarray  # [N] index of the row's interaction in `history`: what is before it is the row's history


class SampleLog:
    """The log in one file. Safe under threads."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file.

        Raises:
          StateError: the file is damaged or of another schema.
          StorageError: it cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        with self._errors():
            # Autocommit mode: transactions are begun and ended by `_transaction` alone.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # what is acknowledged survives a power cut
        (schema,) = self._db.execute("PRAGMA user_version").fetchone()
        if schema == 0:
            with self._transaction():
                for statement in _TABLES.split(";")[:-1]:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        elif schema != SCHEMA:
            raise StateError(f"{self.path}: expected schema {SCHEMA}, got {schema}; use a version that knows it")

    def append(self, interactions: Sequence[Interaction], train: bool = True) -> None:
        """Adds interactions in one transaction; on return they are on the disk.

        Args:
          interactions: oldest first.
          train: False adds them to the history alone.
        """
        with self._transaction():
            for one in interactions:
                position = self._db.execute(
                    "INSERT INTO history (item, label, timestamp) VALUES (?, ?, ?)",
                    (one.item, one.label, one.timestamp),
                ).lastrowid
                if train:
                    rows = [(position, one.item, one.label), *((position, item, 0) for item in one.skipped)]
                    self._db.executemany("INSERT INTO samples (position, item, label) VALUES (?, ?, ?)", rows)

    def newest(self, count: int) -> History:
        """The newest `count` interactions, oldest of them first."""
        with self._errors():
            query = "SELECT item, label FROM history ORDER BY position DESC LIMIT ?"
            rows = self._db.execute(query, (count,)).fetchall()[::-1]
        return History([item for item, _ in rows], np.array([label for _, label in rows], np.int32))

    def items(self) -> set[RawId]:
        """Every item of the history."""
        with self._errors():
            return {item for (item,) in self._db.execute("SELECT DISTINCT item FROM history")}

    def read(self) -> LoggedSamples:
        """All samples and the whole history, as of one moment."""
        with self._errors(), self._transaction():
            history = self._db.execute("SELECT position, item, label FROM history ORDER BY position").fetchall()
            samples = self._db.execute("SELECT position, item, label FROM samples ORDER BY number").fetchall()
        positions = np.array([position for position, _, _ in history], np.int64)
        at = np.searchsorted(positions, np.array([position for position, _, _ in samples], np.int64))
        return LoggedSamples(
            history=History([item for _, item, _ in history], np.array([label for _, _, label in history], np.int32)),
            items=[item for _, item, _ in samples],
            labels=np.array([label for _, _, label in samples], np.float32),
            at=at,
        )

    def counts(self) -> dict[str, int]:
        """Number of interactions in the history, of samples, and of interactions that samples belong to."""
        with self._errors():
            (history,) = self._db.execute("SELECT count(*) FROM history").fetchone()
            samples, interactions = self._db.execute(
                "SELECT count(*), count(DISTINCT position) FROM samples"
            ).fetchone()
        return {"history": history, "samples": samples, "sample_interactions": interactions}

    def prune(self, keep: int, history: int) -> None:
        """Deletes all but the samples of the newest `keep` interactions that have some, and all history but the
        newest `history` interactions before the oldest kept sample (or, with none, the newest `history`)."""
        with self._transaction():
            query = "SELECT DISTINCT position FROM samples ORDER BY position DESC LIMIT 1 OFFSET ?"
            oldest = self._db.execute(query, (keep - 1,)).fetchone() if keep else None
            if keep and oldest is None:
                oldest = self._db.execute("SELECT min(position) FROM samples").fetchone()
            (end,) = self._db.execute("SELECT coalesce(max(position), 0) + 1 FROM history").fetchone()
            first = oldest[0] if oldest and oldest[0] is not None else end
            self._db.execute("DELETE FROM samples WHERE position < ?", (first,))
            query = "SELECT position FROM history WHERE position < ? ORDER BY position DESC LIMIT 1 OFFSET ?"
            before = self._db.execute(query, (first, history)).fetchone()
            if before:
                self._db.execute("DELETE FROM history WHERE position <= ?", before)

    def counter(self, name: str) -> int:
        """A number kept beside the log; 0 if it was never raised."""
        with self._errors():
            row = self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return row[0] if row else 0

    def raise_counter(self, name: str, value: int) -> None:
        """Sets a number, which never goes down."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO counters VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (name, value),
            )

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:  # a read-only folder, a full disk, another process's lock
                raise StorageError(f"{self.path}: cannot be read or written ({error}); nothing was changed") from error
            except sqlite3.ProgrammingError as error:
                raise StateError(f"{self.path}: {error}; open the device again") from error
            except sqlite3.DatabaseError as error:
                raise StateError(
                    f"{self.path}: damaged ({error}); open the device with on_damage='reset' to begin afresh"
                ) from error

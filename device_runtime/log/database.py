"""A device's database: one SQLite file for its log, its events and its uploads, durable once acknowledged.

WAL with full synchronisation: a transaction that has returned survives a kill and a power cut, one that has not leaves
nothing behind. A file of an older schema is brought forward when it is opened, in one transaction.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from device_runtime.errors import StateError, StorageError

# What each schema adds to the one before. An item has no type: numbers and strings come back as they were.
_ADDED = {
    1: """
CREATE TABLE history (position INTEGER PRIMARY KEY AUTOINCREMENT, item NOT NULL, label INTEGER NOT NULL,
                      timestamp INTEGER NOT NULL);
CREATE TABLE samples (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, item NOT NULL,
                      label INTEGER NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
""",
    2: """
CREATE INDEX samples_position ON samples (position);
CREATE TABLE met (item PRIMARY KEY NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX met_last ON met (last);
INSERT INTO met SELECT item, min(position), max(position) FROM history GROUP BY item;
CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL,
                     facts TEXT NOT NULL);
CREATE TABLE uploads (sequence INTEGER PRIMARY KEY, bundle BLOB NOT NULL, content BLOB NOT NULL, digest BLOB NOT NULL,
                      status TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL, bytes INTEGER NOT NULL,
                      queued INTEGER NOT NULL);
CREATE TABLE refused (bundle BLOB NOT NULL, runtime TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL,
                      PRIMARY KEY (bundle, runtime));
""",
}
SCHEMA = max(_ADDED)
# Rows that no version of this package has written: the file was damaged where SQLite itself notices nothing.
_IMPOSSIBLE = (
    "SELECT 1 FROM history WHERE typeof(item) NOT IN ('integer', 'text') OR label NOT IN (0, 1) "
    "OR typeof(timestamp) <> 'integer'",
    "SELECT 1 FROM samples WHERE typeof(item) NOT IN ('integer', 'text') OR label NOT IN (0, 1) "
    "OR position NOT IN (SELECT position FROM history)",
    "SELECT 1 FROM (SELECT max(position) - min(position) + 1 - count(*) AS gaps FROM history) WHERE gaps <> 0",
    "SELECT 1 FROM (SELECT max(number) - min(number) + 1 - count(*) AS gaps FROM samples) WHERE gaps <> 0",
    "SELECT 1 FROM counters WHERE typeof(name) <> 'text' OR typeof(value) <> 'integer'",
    # Of the other tables the columns alone: a name that is damaged is one that SQLite does not find.
    "SELECT item, first, last FROM met WHERE 0",
    "SELECT number, time, kind, facts FROM events WHERE 0",
    "SELECT sequence, bundle, content, digest, status, detail, attempts, bytes, queued FROM uploads WHERE 0",
    "SELECT bundle, runtime, reason, time FROM refused WHERE 0",
)
# SQLite's results that tell of a full disk, a folder without permission or another process's lock. All others tell of
# the content: this package's statements are right for a file as it wrote it.
_STORAGE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
)


class Database:
    """The open file. Safe under threads."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file.

        Raises:
          StateError: the file is damaged or of a newer schema.
          StorageError: it cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.touch(0o600)  # a new one is its owner's alone, and SQLite's files beside it likewise
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
        with self._errors():
            # Autocommit mode: transactions are begun and ended by `transaction` alone.
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; on leaving it, what was written is on the disk."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple]:
        """All rows that one statement gives."""
        with self._errors():
            return self._connection.execute(statement, values).fetchall()

    def counter(self, name: str) -> int:
        """A number kept here; 0 if it was never raised."""
        rows = self.query("SELECT value FROM counters WHERE name = ?", (name,))
        return rows[0][0] if rows else 0

    def raise_counter(self, name: str, value: int) -> None:
        """Sets a number, which never goes down."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO counters VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (name, value),
            )

    def erase(self, *tables: str) -> None:
        """Deletes all rows of some tables, from the files too.

        Raises:
          StorageError: that failed; what it says was or was not changed.
        """
        with self.transaction() as db:
            for table in tables:
                db.execute(f"DELETE FROM {table}")
        with self._errors("rows that were deleted may still be in the file, call again"):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(StorageError), self._errors():  # also of what versions before secure_delete left in free places
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")  # what is acknowledged survives a power cut
        self._connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        if schema > SCHEMA:
            raise StateError(f"{self.path}: expected schema {SCHEMA} or older, got {schema}; use a newer version")
        if schema < SCHEMA:
            with self.transaction():
                for added in range(max(schema, 0) + 1, SCHEMA + 1):
                    for statement in _ADDED[added].split(";")[:-1]:
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        (finding,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)
        for rows in _IMPOSSIBLE:
            if self._connection.execute(f"{rows} LIMIT 1").fetchone():
                raise sqlite3.DatabaseError("rows that were never written")

    @contextmanager
    def _errors(self, otherwise: str = "nothing was changed") -> Iterator[None]:
        """SQLite's errors as ours; `otherwise` says what a disk's failure leaves."""
        with self._lock:
            try:
                yield
            except sqlite3.ProgrammingError as error:
                raise StateError(f"{self.path}: {error}; open the device again") from error
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: a message that quotes the damage
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _STORAGE:
                    raise StorageError(f"{self.path}: cannot be read or written ({error}); {otherwise}") from error
                raise StateError(
                    f"{self.path}: damaged ({error}); open the device with on_damage='reset' to begin afresh"
                ) from error

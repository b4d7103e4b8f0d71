"""The uploads of a device, on the disk from when they are made until the cloud's receipt, however long that takes.

Of a bundle only the newest vector matters, so one that was not yet answered gives way to the next of the same bundle.
They go in the order of their numbers, since the cloud takes no number below one that it has seen.
"""

import time
from dataclasses import dataclass

from device_runtime.log.database import Database

QUEUED, ACCEPTED, DUPLICATE, REJECTED, SUPERSEDED = "queued", "accepted", "duplicate", "rejected", "superseded"
_BUNDLES = 4  # uploads that wait at once, one a bundle; the oldest give way
_KEPT = 50  # uploads that are remembered once they are settled
_LONGEST_HOLD = 24 * 3600  # seconds
_HOLD = "upload_not_before"
_COLUMNS = "sequence, content, digest, status, detail, attempts, bytes, queued"


@dataclass(frozen=True)
class Queued:
    """An upload and what became of it."""

    sequence: int
    content: bytes  # a serialised VectorUpload; signed when it is sent
    digest: bytes  # of what it was made from
    status: str  # queued, accepted, duplicate, rejected or superseded
    detail: str  # why it was rejected, or why it still waits
    attempts: int
    bytes_sent: int  # in all attempts, with the transport's own
    queued: int  # seconds since 1970


class Outbox:
    """The uploads in a device's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, sequence: int, bundle: bytes, content: bytes, digest: bytes) -> Queued:
        """Queues an upload; those of the same bundle that still wait are superseded."""
        with self._database.transaction() as db:
            db.execute("UPDATE uploads SET status = ? WHERE status = ? AND bundle = ?", (SUPERSEDED, QUEUED, bundle))
            db.execute(
                "UPDATE uploads SET status = ? WHERE sequence IN "
                "(SELECT sequence FROM uploads WHERE status = ? ORDER BY sequence DESC LIMIT -1 OFFSET ?)",
                (SUPERSEDED, QUEUED, _BUNDLES - 1),
            )
            values = (sequence, bundle, content, digest, QUEUED, "", 0, 0, int(time.time()))
            db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.execute("DELETE FROM uploads WHERE status <> ? AND sequence <= ?", (QUEUED, sequence - _KEPT))
        return self.newest(1)[0]

    def newest(self, count: int) -> list[Queued]:
        """The newest uploads, the newest first."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM uploads ORDER BY sequence DESC LIMIT ?", (count,))
        return [Queued(*row) for row in rows]

    def waiting(self) -> list[Queued]:
        """Those without a receipt, in the order in which to send them."""
        query = f"SELECT {_COLUMNS} FROM uploads WHERE status = ? ORDER BY sequence"
        return [Queued(*row) for row in self._database.query(query, (QUEUED,))]

    def waits(self, sequence: int) -> bool:
        """Whether an upload is still to be sent."""
        return bool(self._database.query("SELECT 1 FROM uploads WHERE sequence = ? AND status = ?", (sequence, QUEUED)))

    def settle(self, sequence: int, status: str, detail: str = "") -> None:
        """Notes what the cloud answered."""
        with self._database.transaction() as db:
            db.execute("UPDATE uploads SET status = ?, detail = ? WHERE sequence = ?", (status, detail, sequence))

    def attempted(self, sequence: int, bytes_sent: int, problem: str) -> None:
        """Notes an attempt, and why it brought no receipt."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE uploads SET attempts = attempts + 1, bytes = bytes + ?, detail = ? WHERE sequence = ?",
                (bytes_sent, problem, sequence),
            )

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long, also after a restart; a day at most, whatever the cloud asks."""
        until = int(time.time() + min(seconds, _LONGEST_HOLD))
        with self._database.transaction() as db:  # in place of a later end, which a clock that was ahead has left
            db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (_HOLD, until))

    @property
    def held(self) -> float:
        """Seconds for which nothing is to be sent; 0 if there is no need to wait."""
        left = self._database.counter(_HOLD) - time.time()
        return left if 0.0 < left <= _LONGEST_HOLD else 0.0  # more: the clock was set back

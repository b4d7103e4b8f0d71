"""What happened to a device, newest last: a small bounded log for whoever has to find out later."""

import json
import time
from dataclasses import dataclass
from typing import Any

from device_runtime.errors import StorageError
from device_runtime.log.database import Database

KINDS = ("opening", "personalize", "upgrade", "refusal", "rollback", "reset", "upload")
_KEPT = 1000


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    time: int  # seconds since 1970
    kind: str  # one of `KINDS`
    facts: dict[str, Any]  # plain types

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {"time": self.time, "kind": self.kind, **self.facts}


class EventLog:
    """The newest 1,000 events of a device, in its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lost = 0  # events that could not be written

    def add(self, kind: str, **facts: Any) -> None:
        """Writes an event down. What happened has happened: on a full disk it is counted as lost, nothing is raised."""
        try:
            with self._database.transaction() as db:
                number = db.execute(
                    "INSERT INTO events (time, kind, facts) VALUES (?, ?, ?)",
                    (int(time.time()), kind, json.dumps(facts)),
                ).lastrowid
                db.execute("DELETE FROM events WHERE number <= ?", (number - _KEPT,))
        except StorageError:
            self.lost += 1

    def newest(self, count: int) -> list[Event]:
        """The newest `count` events, oldest of them first."""
        rows = self._database.query(
            "SELECT time, kind, facts FROM events ORDER BY number DESC LIMIT ?", (min(count, _KEPT),)
        )
        return [Event(when, kind, _read(facts)) for when, kind, facts in reversed(rows)]


def _read(facts: Any) -> dict[str, Any]:
    """The facts; where the disk has damaged them, what is left, since the other events are worth reading."""
    try:
        return dict(json.loads(facts))
    except (ValueError, TypeError):
        return {"unreadable": str(facts)}

"""Rejected bodies, kept for whoever asks why: the newest of each reason, up to so many bytes, and counts of all.

Bounded for each reason apart, so that noise of one kind from the network pushes out nothing of another kind.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from dccl_tf.vectors.checks import Rejected
from dccl_tf.vectors.tables import QUARANTINE, REJECTIONS
from protos import dccl_pb2

REASONS = list(dccl_pb2.Reason.DESCRIPTOR.values_by_name)  # why an upload is rejected

KEPT_BYTES = 4096  # of one body
ROW_BYTES = 256  # that a row takes beside its body, about

_TOTALS = sql.select(REJECTIONS.c.reason, REJECTIONS.c.bytes)


@dataclass(frozen=True)
class Quarantined:
    """One rejected body."""

    number: int  # grows
    reason: str  # name of a dccl.Reason
    detail: str
    device_id: str | None  # as the body says
    body: bytes  # its first 4096 bytes
    body_bytes: int
    received_at: float  # seconds since 1970


def add(connection: sql.Connection, rejections: Sequence[tuple[Rejected, bytes]], keep: int) -> None:
    """Keeps the beginnings of rejected bodies, forgets the oldest of a reason beyond `keep` bytes, and counts."""
    before = dict(connection.execute(_TOTALS).tuples().all())
    totals, counts = Counter(before), Counter()
    rows: list[dict[str, Any]] = []
    now = time.time()
    for rejected, body in rejections:
        reason = dccl_pb2.Reason.Name(rejected.reason)
        row = {
            "reason": reason,
            "detail": rejected.detail,
            "device_id": rejected.device_id,
            "body": bytes(body[:KEPT_BYTES]),
            "body_bytes": len(body),
            "received_at": now,
            "begins_at": totals[reason],
        }
        rows.append(row)
        totals[reason] += len(row["body"]) + ROW_BYTES
        counts[reason] += 1
    connection.execute(sql.insert(QUARANTINE), rows)
    for reason, count in counts.items():
        oldest = (QUARANTINE.c.reason == reason) & (QUARANTINE.c.begins_at < totals[reason] - keep)
        connection.execute(sql.delete(QUARANTINE).where(oldest))
        values = {"count": REJECTIONS.c.count + count, "bytes": totals[reason]}
        if reason in before:
            connection.execute(sql.update(REJECTIONS).where(REJECTIONS.c.reason == reason).values(values))
        else:
            connection.execute(sql.insert(REJECTIONS), {"reason": reason, "count": count, "bytes": totals[reason]})


def newest(connection: sql.Connection, limit: int, reason: str | None, before: int | None) -> list[Quarantined]:
    """The newest ones, newest first; of one reason, and from before a number, if asked."""
    query = sql.select(QUARANTINE).order_by(QUARANTINE.c.number.desc()).limit(limit)
    if reason is not None:
        query = query.where(QUARANTINE.c.reason == reason)
    if before is not None:
        query = query.where(QUARANTINE.c.number < before)
    columns = list(Quarantined.__dataclass_fields__)
    return [Quarantined(**{name: getattr(row, name) for name in columns}) for row in connection.execute(query)]


def counts(connection: sql.Connection) -> dict[str, int]:
    """How many uploads were ever rejected, by reason."""
    query = sql.select(REJECTIONS.c.reason, REJECTIONS.c.count).order_by(REJECTIONS.c.reason)
    return dict(connection.execute(query).tuples().all())

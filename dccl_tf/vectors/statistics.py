"""What the store holds, in a few numbers."""

from typing import Any

import sqlalchemy as sql

from dccl_tf.vectors import quarantine
from dccl_tf.vectors.tables import BUNDLES, DEVICES, VECTORS

_BY_BUNDLE = (
    sql.select(
        BUNDLES.c.identity,
        BUNDLES.c.metapatch_length,
        sql.func.count(VECTORS.c.device_id).label("vectors"),
        sql.func.sum(VECTORS.c.samples).label("samples"),
        sql.func.avg(VECTORS.c.norm).label("mean_norm"),
        sql.func.count(VECTORS.c.gate).label("with_evidence"),
        sql.func.avg(VECTORS.c.gate).label("mean_gate"),
        sql.func.avg(VECTORS.c.cloud_loss - VECTORS.c.personal_loss).label("mean_gain"),
        sql.func.max(VECTORS.c.received_at).label("newest_at"),
    )
    .outerjoin(VECTORS, VECTORS.c.bundle == BUNDLES.c.identity)
    .group_by(BUNDLES.c.identity, BUNDLES.c.metapatch_length)
)


def statistics(connection: sql.Connection) -> dict[str, Any]:
    """Devices, the vectors of each bundle, and rejections by reason.

    Of a bundle: `mean_gate` and `mean_gain` (held-out log loss of the cloud model minus the personal one) are over the
    vectors with evidence; `newest_at` is in seconds since 1970. None where there is no vector.
    """
    bundles = [
        row._asdict() | {"identity": bytes(row.identity).hex(), "samples": int(row.samples or 0)}
        for row in connection.execute(_BY_BUNDLE)
    ]
    return {
        "devices": connection.execute(sql.select(sql.func.count()).select_from(DEVICES)).scalar(),
        "bundles": sorted(bundles, key=lambda bundle: bundle["newest_at"] or 0.0, reverse=True),
        "rejected": quarantine.counts(connection),
    }

"""How long an upload's vector may be, by the vectors that other devices sent for the same bundle.

Once enough devices have been heard, a norm beyond a multiple of their median is refused. The median is over the newest
vector of each of the devices heard last, one vote a device: whoever would move it needs half of them.
"""

from collections import OrderedDict

import numpy as np
import sqlalchemy as sql

from dccl_tf.vectors.tables import VECTORS

VOTES = 4096  # devices heard last, of each bundle
REFRESH = 256  # votes between two medians


class Population:
    """Norms of the accepted vectors of one bundle."""

    def __init__(self, norms: dict[str, float], enough: int) -> None:
        """Creates one.

        Args:
          norms: by device id, of vectors accepted so far.
          enough: devices to hear before there is a median.
        """
        self._norms = OrderedDict(norms)
        self._enough = enough
        self._median: float | None = None
        self._votes_since = 0
        self._refresh()

    @classmethod
    def of_bundle(cls, connection: sql.Connection, bundle: bytes, enough: int) -> "Population":
        """That of the vectors in the store. They have no index by time: this is asked once, each upload would pay."""
        query = sql.select(VECTORS.c.device_id, VECTORS.c.norm).where(VECTORS.c.bundle == bundle)
        newest_first = connection.execute(query.order_by(VECTORS.c.received_at.desc()).limit(VOTES)).tuples().all()
        return cls(dict(reversed(newest_first)), enough)

    @property
    def median(self) -> float | None:
        """Of the norms; None while too few devices were heard."""
        return self._median

    def add(self, device_id: str, norm: float) -> None:
        """Counts an accepted vector in place of the device's earlier one."""
        self._norms[device_id] = norm
        self._norms.move_to_end(device_id)
        if len(self._norms) > VOTES:
            self._norms.popitem(last=False)
        self._votes_since += 1
        if self._votes_since >= REFRESH or self._median is None:
            self._refresh()

    def _refresh(self) -> None:
        if len(self._norms) >= self._enough:
            self._median = float(np.median(list(self._norms.values())))
            self._votes_since = 0

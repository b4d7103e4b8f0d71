"""Stored sequences part by part, so that a task's memory does not depend on its number of users."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from dccl_tf.data.schema import InteractionLog
from dccl_tf.data.sequence_files import SequenceFolder

USERS_AT_ONCE = 4096


def logs(
    opened: SequenceFolder, batches: Iterable[pa.RecordBatch], most: int = USERS_AT_ONCE
) -> Iterator[InteractionLog]:
    """Logs of at most `most` consecutive users each, who know their numbers in the whole log.

    Args:
      opened: the folder.
      batches: of its sequences, sorted by user or nearly so.
      most: users of a log.
    """
    catalogue = opened.catalogue()
    for numbers, part in slices(batches, most):
        yield opened.log_of(part, numbers, catalogue)


def slices(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[tuple[range, list[pa.RecordBatch]]]:
    """Cuts rows that are sorted by user into runs of consecutive users.

    Args:
      batches: of `sequences`.
      most: users in a run.

    Yields:
      The numbers of the users of a run, and their rows. Users who have none, within a run, are counted too.
    """
    part: list[pa.RecordBatch] = []
    first = last = 0
    for batch in batches:
        users = batch["user"].to_numpy()
        begin = 0
        while begin < len(batch):
            if part and not last < users[begin] < first + most:
                yield range(first, last + 1), part
                part = []
            if not part:
                first = int(users[begin])
            jump = np.flatnonzero((users[begin:] >= first + most) | (users[begin:] < first))
            end = begin + int(jump[0]) if len(jump) else len(batch)
            part.append(batch.slice(begin, end - begin))
            last, begin = int(users[end - 1]), end
    if part:
        yield range(first, last + 1), part

"""From rows that are sorted by user and time to a row a user: what each task runs, without Spark in it.

Memory holds one batch and, of the user at its end, the newest interactions that are kept: a user with a million
events is never collected.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from dccl_tf.data.sequence_files import sequence_schema


def assemble(batches: Iterable[pa.RecordBatch], labels: bool, most: int | None = None) -> Iterator[pa.RecordBatch]:
    """Puts each user's interactions into one row.

    Args:
      batches: columns user, item, timestamp and label, sorted by user and then oldest first.
      labels: whether the log has labels.
      most: newest interactions of a user that are kept; None keeps all.

    Yields:
      Batches of `sequence_files.sequence_schema(labels)`; each user is in one of them.
    """
    names = ["user", "item", "timestamp", *(["label"] if labels else [])]
    open_user: list[pa.RecordBatch] = []  # of the last user seen, who may go on in the next batch
    for batch in batches:
        if not len(batch):
            continue
        batch = batch.select(names)
        users = batch["user"].to_numpy()
        edges = np.flatnonzero(np.diff(users)) + 1
        if open_user and open_user[-1]["user"][0].as_py() != users[0]:
            edges = np.concatenate([[0], edges])
        if len(edges):
            last = int(edges[-1])
            yield _sequences([*open_user, batch.slice(0, last)], labels, most)
            open_user, batch = [], batch.slice(last)
        open_user = _newest([*open_user, batch], most)
    if open_user:
        yield _sequences(open_user, labels, most)


def _newest(batches: list[pa.RecordBatch], most: int | None) -> list[pa.RecordBatch]:
    """One user's batches without those that the newest `most` rows have no need of."""
    rows = sum(map(len, batches))
    while most is not None and rows - len(batches[0]) >= most:
        rows -= len(batches[0])
        batches = batches[1:]
    return batches


def _sequences(batches: list[pa.RecordBatch], labels: bool, most: int | None) -> pa.RecordBatch:
    """A row for each user of whole users' rows."""
    names = batches[0].schema.names
    users, *columns = (np.concatenate([batch[name].to_numpy() for batch in batches]) for name in names)
    first = np.concatenate([[0], np.flatnonzero(np.diff(users)) + 1])
    lengths = np.diff(np.append(first, len(users)))
    kept = lengths
    if most is not None and lengths.max() > most:
        kept = np.minimum(lengths, most)
        newest = np.arange(len(users)) >= np.repeat(first + lengths - kept, lengths)
        columns = [column[newest] for column in columns]
    ends = pa.array(np.concatenate([[0], np.cumsum(kept)]).astype(np.int32))
    schema = sequence_schema(labels)
    lists = [
        pa.ListArray.from_arrays(ends, pa.array(column, field.type.value_type))
        for column, field in zip(columns, list(schema)[1:], strict=True)
    ]
    return pa.RecordBatch.from_arrays([pa.array(users[first], pa.int64()), *lists], schema=schema)

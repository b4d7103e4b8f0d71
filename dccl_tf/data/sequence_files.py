"""A prepared log as a folder of Parquet files, for logs that outgrow one `.npz` or one machine.

    clicks.parquet/
      log.json        sizes, names of fields and categories, counts, source, kind of clock
      items.parquet   a row an item, in the order of model ids 1..V: id, categories, title
      users.parquet   a row a user, in the order of numbers 0..U-1: id, profile
      sequences/      a row a user, over any number of files: user, items, timestamps, labels; oldest first

Each file of `sequences` is sorted by user. A user without interactions has no row there.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.data.storage import clock_of
from dccl_tf.files import in_place_of

FORMAT = 1
SUFFIX = ".parquet"
ROWS_A_GROUP = 65_536  # of users.parquet: what is read to find one user
_USERS_A_FILE = 16_384


def sequence_schema(labels: bool) -> pa.Schema:
    """Columns of `sequences`."""
    fields = [("user", pa.int64()), ("items", pa.list_(pa.int32())), ("timestamps", pa.list_(pa.int64()))]
    return pa.schema([*fields, ("labels", pa.list_(pa.int8()))] if labels else fields)


def write_sequences(log: InteractionLog, folder: str | Path) -> Path:
    """Writes a log that is in memory; a kill or an error leaves the old folder or the new one.

    Raises:
      ValueError: something else than a prepared log is in its place.
    """
    schema = sequence_schema(log.labels is not None)
    present = np.flatnonzero(log.lengths)
    with new_folder(
        folder,
        log.users,
        log.catalogue,
        interactions=len(log.items),
        labels=log.labels is not None,
        counts=log.counts,
        source=log.source,
        shared_clock=log.shared_clock,
    ) as sequences:
        sequences.mkdir()
        for first in range(0, len(present), _USERS_A_FILE):
            batch = sequence_batch(log, present[first : first + _USERS_A_FILE], schema)
            table = pa.Table.from_batches([batch], schema=schema)
            pq.write_table(table, sequences / f"part-{first // _USERS_A_FILE:05d}.parquet")
    return Path(folder)


@contextmanager
def new_folder(
    folder: str | Path,
    users: Users,
    catalogue: Catalogue,
    *,
    interactions: int,
    labels: bool,
    counts: dict[str, int],
    source: str,
    shared_clock: bool = True,
) -> Iterator[Path]:
    """A folder that takes its place when the `with` block ends. Only a prepared log may be there; it is replaced then.

    Yields:
      The path of `sequences`, which the caller makes.

    Raises:
      ValueError: something else is in its place.
    """
    folder = Path(folder)
    require_replaceable(folder)
    words = {
        "format": FORMAT,
        "users": len(users),
        "items": len(catalogue),
        "interactions": interactions,
        "labels": labels,
        "fields": [[field.name, field.values] for field in users.fields],
        "category_names": catalogue.category_names,
        "titles": bool(catalogue.titles),
        "counts": counts,
        "source": source,
        "shared_clock": shared_clock,
    }
    items = {"id": pa.array(catalogue.ids), "categories": _lists(catalogue.categories[1:-1])}
    if catalogue.titles:
        items["title"] = pa.array(catalogue.titles, pa.string())
    people = pa.table({"id": pa.array(users.ids), "profile": _lists(users.profile)})
    folder.parent.mkdir(parents=True, exist_ok=True)
    with in_place_of(folder) as unfinished:
        unfinished.mkdir()
        pq.write_table(pa.table(items), unfinished / "items.parquet")
        pq.write_table(people, unfinished / "users.parquet", row_group_size=ROWS_A_GROUP)
        yield unfinished / "sequences"
        (unfinished / "log.json").write_text(json.dumps(words, indent=1))  # last: half a folder never counts as a log


def require_replaceable(folder: Path) -> None:
    """Raises ValueError where something is in a folder's place that is neither empty nor a prepared log."""
    ours = any(_is_ours(folder / name) for name in ("log.json", "unfinished.json"))  # the latter of older versions
    if folder.exists() and not ours and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise ValueError(f"output: expected a new folder or one with a prepared log, got {folder}; choose another")


def _is_ours(file: Path) -> bool:
    """Whether this module wrote a log.json; others have files of that name too, and folders that must not go."""
    try:
        words = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(words, dict) and words.get("format") == FORMAT and {"users", "items", "fields"} <= words.keys()


def read_sequences(folder: str | Path) -> InteractionLog:
    """Reads a whole log into memory.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it holds no prepared log, one of another format, or one that lacks files.
    """
    opened = SequenceFolder(folder)
    log = opened.log_of(opened.batches(), range(opened.words["users"]))
    if len(log.items) != opened.words["interactions"]:
        raise ValueError(
            f"{folder}: expected {opened.words['interactions']:,} interactions as log.json says, got "
            f"{len(log.items):,}: files of {opened.sequences} are missing; prepare the data again"
        )
    return log


class SequenceFolder:
    """A prepared log of which parts can be read."""

    def __init__(self, folder: str | Path) -> None:
        """Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no prepared log, or one of another format.
        """
        self.folder = Path(folder)
        if not self.folder.exists():
            raise FileNotFoundError(f"{folder}: there is no such folder")
        try:
            self.words: dict[str, Any] = json.loads((self.folder / "log.json").read_text())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{folder}: expected a folder that prepare_data wrote, got one "
                f"{'that it did not finish' if (self.folder / 'unfinished.json').exists() else 'without log.json'}; "
                "prepare the data again"
            ) from error
        if self.words.get("format") != FORMAT:
            raise ValueError(
                f"{folder}: expected format {FORMAT}, got {self.words.get('format')}; prepare the data again"
            )
        self.sequences = self.folder / "sequences"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of `sequences`."""
        schema = sequence_schema(self.words["labels"])
        for batch in dataset.dataset(self.sequences, schema=schema, format="parquet").to_batches():
            if len(batch):
                yield batch

    def catalogue(self) -> Catalogue:
        """All items."""
        table = pq.read_table(self.folder / "items.parquet")
        inner = _matrix(table["categories"])
        categories = np.zeros((len(inner) + 2, inner.shape[1]), np.int32)
        categories[1:-1] = inner
        titles = tuple(table["title"].to_pylist()) if self.words["titles"] else ()
        return Catalogue(_ids(table["id"]), categories, tuple(self.words["category_names"]), titles)

    def users(self, numbers: range) -> Users:
        """The users with these numbers, in order."""
        file = pq.ParquetFile(self.folder / "users.parquet")
        first, last = numbers.start // ROWS_A_GROUP, (numbers.stop - 1) // ROWS_A_GROUP
        table = file.read_row_groups(list(range(first, last + 1)))
        table = table.slice(numbers.start - first * ROWS_A_GROUP, len(numbers))
        fields = tuple(ProfileField(name, tuple(values)) for name, values in self.words["fields"])
        return Users(
            _ids(table["id"]), _matrix(table["profile"]), fields, np.arange(numbers.start, numbers.stop, dtype=np.int64)
        )

    def log_of(
        self, batches: Iterable[pa.RecordBatch], numbers: range, catalogue: Catalogue | None = None
    ) -> InteractionLog:
        """A log of the users with these numbers.

        Args:
          batches: of `sequences`, in any order; users outside `numbers` are not expected.
          numbers: consecutive.
          catalogue: all items, if the caller has them already.
        """
        table = pa.Table.from_batches(list(batches), schema=sequence_schema(self.words["labels"]))
        table = table.take(pa.array(np.argsort(table["user"].to_numpy(), kind="stable"))).combine_chunks()
        lengths = np.zeros(len(numbers), np.int64)
        lengths[table["user"].to_numpy() - numbers.start] = table["items"].combine_chunks().value_lengths()
        flat = {name: _flat(table[name]) for name in table.schema.names[1:]}
        return InteractionLog(
            items=flat["items"],
            timestamps=flat["timestamps"],
            labels=flat.get("labels"),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            users=self.users(numbers),
            catalogue=catalogue or self.catalogue(),
            counts=self.words["counts"],
            source=self.words["source"],
            shared_clock=clock_of(self.words),
        )


def sequence_batch(log: InteractionLog, users: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of `sequences` of consecutive users [N] of a log."""
    begin, end = log.offsets[users[0]], log.offsets[users[-1] + 1]
    ends = pa.array(np.concatenate([[0], np.cumsum(log.lengths[users])]).astype(np.int32))
    columns = [getattr(log, name)[begin:end] for name in schema.names[1:]]
    lists = [
        pa.ListArray.from_arrays(ends, pa.array(column, field.type.value_type))
        for column, field in zip(columns, list(schema)[1:], strict=True)
    ]
    return pa.RecordBatch.from_arrays([pa.array(users, pa.int64()), *lists], schema=schema)


def _lists(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    return _flat(column).reshape(len(column), column.type.list_size)


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    """The values of all lists, one after another, writable."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.zeros(0, column.type.value_type.to_pandas_dtype())


def _ids(column: pa.ChunkedArray) -> np.ndarray:
    """int64, or text of NumPy's own."""
    return column.to_numpy() if pa.types.is_integer(column.type) else column.to_numpy().astype(str)

"""Any log of interactions in CSV or Parquet files as an `InteractionLog`.

log = load_table("clicks.csv.gz", items="items.parquet",
                 columns=TableColumns(user="uid", item="sku", timestamp="time", categories=("brand", "kind")))
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from dccl_tf.data import columns as parse
from dccl_tf.data.columns import Column
from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.data.sequences import sorted_log
from dccl_tf.data.table_files import TableFile, as_text

NUMERIC_VALUES = 20  # a numeric profile column with more different values is cut into quantiles
BUCKETS = 10
MOST_VALUES = 1000  # of a profile field: more would single people out, and carry nothing over to new ones


@dataclass(frozen=True)
class TableColumns:
    """What the columns of the files are called. `user` and `item` name the ids in every file that has them."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"  # numbers, or ISO 8601 dates
    label: str | None = None  # 1 or 0
    rating: str | None = None  # becomes a label, by `rating_threshold`
    rating_threshold: float = 4.0  # ratings from here on have the label 1
    categories: tuple[str, ...] = ()  # of the items file
    category_separator: str = "|"  # between several categories in one cell
    title: str | None = None  # of the items file
    profile: tuple[str, ...] = ()  # of the users file
    id_type: str = "auto"  # "text": ids of digits are text too

    def __post_init__(self) -> None:
        if self.label and self.rating:
            raise ValueError(f"label, rating: expected one of them, got {self.label!r} and {self.rating!r}")
        if not np.isfinite(self.rating_threshold):
            raise ValueError(f"rating_threshold: expected a finite number, got {self.rating_threshold}")
        if self.id_type not in ("auto", "text"):
            raise ValueError(f"id_type: expected 'auto' or 'text', got {self.id_type!r}")
        if not self.category_separator:
            raise ValueError("category_separator: expected at least one character, got none")
        for name, chosen in (("categories", self.categories), ("profile", self.profile)):
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"{name}: expected each column once, got {', '.join(chosen)}")

    @property
    def feedback(self) -> str | None:
        """The column that labels come from."""
        return self.label or self.rating

    def of_interactions(self) -> list[str]:
        """Columns of the interactions file."""
        return [self.user, self.item, self.timestamp, *([self.feedback] if self.feedback else [])]

    def labels(self, column: Column) -> np.ndarray:
        """Labels [N] of the column `feedback`."""
        if self.label:
            return parse.labels(column)
        return (parse.numbers(column, "a rating") >= self.rating_threshold).astype(np.int8)

    def require_details(self, items: str | Path | None, users: str | Path | None) -> None:
        """Raises ValueError where columns are asked for without their file, or a file is given without columns."""
        for name, wanted, path, choices in (
            ("items", [*self.categories, *([self.title] if self.title else [])], items, "categories or a title"),
            ("users", self.profile, users, "profile"),
        ):
            if wanted and path is None:
                raise ValueError(f"{name}: expected a file with the column {wanted[0]!r}, got none")
            if path is not None and not wanted:
                raise ValueError(f"{name}: expected columns to read from {path} ({choices}), got none")


def load_table(
    interactions: str | Path,
    items: str | Path | None = None,
    users: str | Path | None = None,
    columns: TableColumns | None = None,
) -> InteractionLog:
    """Loads a log; rows may be in any order, and rows of one user and one time keep theirs.

    Args:
      interactions: a row for each interaction.
      items: a row for each item; its categories and title. Items that lack there have none.
      users: a row for each user; the profile. Users who lack there have unknown (0) in every field.
      columns: names of the columns.

    Raises:
      FileNotFoundError: a file does not exist.
      ValueError: what is wrong with file, line (CSV, the header included) or row (Parquet), column and value.
    """
    columns = columns or TableColumns()
    columns.require_details(items, users)
    file = TableFile(interactions, columns.of_interactions())
    user_ids, owners = distinct(parse.ids(file[columns.user], columns.id_type))
    item_ids, model_ids = distinct(parse.ids(file[columns.item], columns.id_type))
    labels = columns.labels(file[columns.feedback]) if columns.feedback else None
    counts = {"interactions": len(file), "users": len(user_ids), "items": len(item_ids)}
    if labels is not None:
        counts["interactions_liked"] = int(labels.sum())
    catalogue = catalogue_of(items, columns, item_ids, counts)
    people = users_of(users, columns, user_ids, counts)
    return sorted_log(
        owners,
        model_ids + 1,
        parse.times(file[columns.timestamp]),
        labels,
        users=people,
        catalogue=catalogue,
        counts=counts,
        source=f"the table {interactions}",
    )


def distinct(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ids, sorted, and the place of each row's id among them."""
    codes, found = pd.factorize(ids, sort=True)
    found = np.asarray(found)
    return found.astype(np.int64 if ids.dtype == np.int64 else str), codes


def catalogue_of(path: str | Path | None, columns: TableColumns, ids: np.ndarray, counts: dict[str, int]) -> Catalogue:
    """The items with these ids [V], sorted; the items file has their details, and `counts` is told who lacks there."""
    if path is None:
        return Catalogue(ids, np.zeros((len(ids) + 2, 1), np.int32), ())
    wanted = [*columns.categories, *([columns.title] if columns.title else [])]
    file = TableFile(path, [columns.item, *wanted])
    rows = _rows_of(file[columns.item], columns, ids, "item", counts)
    categories, names = _categories([file[name] for name in columns.categories], columns.category_separator, rows)
    titles: tuple[str, ...] = ()
    if columns.title:
        file[columns.title].refuse_nested("a title that is text or a number")
        title = file[columns.title].values
        titles = tuple(as_text(title.iloc[row]) if row >= 0 else "" for row in rows)
    return Catalogue(ids, categories, names, titles)


def users_of(path: str | Path | None, columns: TableColumns, ids: np.ndarray, counts: dict[str, int]) -> Users:
    """The users with these ids [U], sorted; the users file has their profiles, and `counts` is told who lacks there."""
    if path is None:
        return Users(ids, np.zeros((len(ids), 1), np.int32), (ProfileField("none"),))
    file = TableFile(path, [columns.user, *columns.profile])
    rows = _rows_of(file[columns.user], columns, ids, "user", counts)
    fields, values = zip(*(_profile_field(file[name]) for name in columns.profile), strict=True)
    profile = np.stack([np.append(column, 0)[rows] for column in values], axis=1)  # row -1 is the 0 at the end
    return Users(ids, profile.astype(np.int32), tuple(fields))


def _rows_of(
    column: Column, columns: TableColumns, wanted: np.ndarray, what: str, counts: dict[str, int]
) -> np.ndarray:
    """The row of each wanted id in a file, -1 where it has none."""
    ids = parse.ids(column, columns.id_type)
    if (ids.dtype == np.int64) != (wanted.dtype == np.int64):
        column.refuse(0, f"an id like {wanted[0].item()!r} in the interactions (or id_type 'text' for both files)")
    index = pd.Index(ids)
    column.refuse_first(index.duplicated(), "each id once")
    rows = index.get_indexer(pd.Index(wanted))
    if (rows < 0).all():
        raise ValueError(
            f"{column.file}, column {column.name!r}: expected ids of the interactions such as {wanted[0].item()!r}, "
            f"got none of them but, for example, {ids[:1].tolist()[0]!r}"
        )
    counts[f"{what}s_without_details"] = int((rows < 0).sum())
    counts[f"{what}_details_without_interactions"] = len(ids) - int((rows >= 0).sum())
    return rows


def _categories(columns: list[Column], separator: str, rows: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Categories [V + 2, M] of the items in these rows of the file, and the names of all. Where there are several
    columns, a name says which one it is of."""
    row_of_item = pd.Series(np.arange(1, len(rows) + 1)[rows >= 0], index=rows[rows >= 0])
    pairs = []
    for column in columns:
        column.refuse_nested("a category, or a list of them", lists=True)
        values = column.values.iloc[row_of_item.index]
        if column.is_text and not values.map(lambda value: isinstance(value, (list, np.ndarray))).any():
            values = values.fillna("").str.split(separator, regex=False)
        cells = pd.Series(values.to_numpy(), index=row_of_item.to_numpy()).explode()
        codes, distinct = pd.factorize(cells)
        texts = np.array([as_text(value) for value in distinct] + [""], object)
        prefix = f"{column.name}: " if len(columns) > 1 else ""
        names = np.array([prefix + text if text else "" for text in texts], object)[codes]
        pairs.append(pd.DataFrame({"item": cells.index, "name": names}))
    pairs = pd.concat(pairs) if pairs else pd.DataFrame({"item": [], "name": []})
    pairs = pairs[pairs["name"] != ""].drop_duplicates()
    codes, names = pd.factorize(pairs["name"].to_numpy(object), sort=True)
    items = pairs["item"].to_numpy(np.int64)
    order = np.lexsort((codes, items))
    items, codes = items[order], codes[order]
    place = np.arange(len(items)) - np.searchsorted(items, items)
    categories = np.zeros((len(rows) + 2, int(place.max(initial=0)) + 1), np.int32)
    categories[items, place] = codes + 1
    return categories, tuple(map(str, names))


def _profile_field(column: Column) -> tuple[ProfileField, np.ndarray]:
    """A column as numbers of its values [N], 0 where there is none."""
    column.refuse_nested("a value that is text or a number")
    if not column.is_text and not pd.api.types.is_bool_dtype(column.values.dtype):
        values = column.values.to_numpy(float, na_value=np.nan)
    else:
        text = column.values.map(as_text)
        values = pd.to_numeric(text.where(text != ""), errors="coerce").to_numpy(float, na_value=np.nan)
        if (np.isnan(values) & (text != "").to_numpy()).any():
            return _named_values(column, text)
    different = len(np.unique(values[~np.isnan(values)]))
    if different <= NUMERIC_VALUES:
        text = column.values.map(as_text)
        if text[text != ""].nunique() > different:  # 5 and 5.0 are one value; else codes such as "01" keep their form
            text = pd.Series(values).map(as_text)
        return _named_values(column, text)
    column.refuse_first(np.isinf(values), "a finite number")
    return _quantiles(column.name, values)


def _named_values(column: Column, text: pd.Series) -> tuple[ProfileField, np.ndarray]:
    known = sorted(set(text) - {""}, key=_natural)
    if len(known) > MOST_VALUES:
        raise ValueError(
            f"{column.file}, column {column.name!r}: expected at most {MOST_VALUES} different values in a profile "
            f"column, got {len(known)}; group them, or leave the column out"
        )
    number = {value: index for index, value in enumerate(known, start=1)} | {"": 0}
    return ProfileField(column.name, tuple(known)), text.map(number).to_numpy(np.int32)


def _quantiles(name: str, values: np.ndarray) -> tuple[ProfileField, np.ndarray]:
    """Buckets of about as many users each, named by their bounds."""
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BUCKETS + 1)[1:-1], method="closest_observation"))
    edges = edges[edges < known.max()]
    if not len(edges):  # more than nine tenths of the users share the largest value
        edges = np.array([known[known < known.max()].max()])
    bounds = _told_apart(edges)
    names = [f"up to {bounds[0]}", *(f"over {low} to {high}" for low, high in pairwise(bounds)), f"over {bounds[-1]}"]
    bucket = np.searchsorted(edges, values, side="left") + 1
    return ProfileField(name, tuple(names)), np.where(np.isnan(values), 0, bucket).astype(np.int32)


def _told_apart(bounds: np.ndarray) -> list[str]:
    """Different numbers as text of 6 digits, or of as many more as it takes for no two to look the same."""
    for digits in range(6, 18):  # 17 tell any two floats apart
        texts = [f"{bound:.{digits}g}" for bound in bounds]
        if len(set(texts)) == len(texts):
            break
    return texts


def _natural(text: str) -> tuple[int, float, str]:
    """Numbers by size before words by the alphabet."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)

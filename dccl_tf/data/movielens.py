"""MovieLens-100K and 1M as an `InteractionLog`: ratings as labels, genres as categories, people as profiles."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.data.sequences import build_log
from dccl_tf.data.sources import find

# The age groups of MovieLens-1M, whose file has their first year; used for 100K's ages too.
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


def load_movielens(
    name: str,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    liked_from: float = 4.0,
) -> InteractionLog:
    """Loads a set from wherever it is to be had (`sources.find`).

    Args:
      name: "ml-100k" or "ml-1m".
      data_dir, cache_dir: where to look, see `sources.find`.
      liked_from: ratings from here on have the label 1, the others 0.

    Raises:
      FileNotFoundError: there is no such set to be had.
      ValueError: a file is not what GroupLens ships.
    """
    if name not in ("ml-100k", "ml-1m"):
        raise ValueError(f"name: expected 'ml-100k' or 'ml-1m', got {name!r}")
    files = _Files(find(name, data_dir, cache_dir))
    if name == "ml-1m":
        ratings, people, films = _read_1m(files)
    elif files.has("ml-100k.inter"):
        ratings, people, films = _read_recbole(files)
    else:
        ratings, people, films = _read_100k(files)
    return _log(ratings, people, films, liked_from)


class _Files:
    """Files of a zip or of a folder, by name alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            self._read = {file.name: file.read_bytes for file in path.iterdir() if file.is_file()}
        else:
            try:
                archive = zipfile.ZipFile(path)
            except zipfile.BadZipFile as error:
                raise ValueError(f"data_dir: expected a zip as GroupLens has it, got {path}, which is none") from error
            self._read = {
                Path(member).name: (lambda member=member: archive.read(member))
                for member in archive.namelist()
                if not member.endswith("/")
            }

    def has(self, name: str) -> bool:
        return name in self._read

    def table(self, name: str, separator: str, columns: list[str], header: int | None = None) -> pd.DataFrame:
        """A delimited Latin-1 file; every value is text, an empty one is ''."""
        if not self.has(name):
            raise ValueError(f"{self.path}: expected a file {name}, got {', '.join(sorted(self._read)) or 'nothing'}")
        text = self._read[name]().decode("utf-8" if name.startswith("ml-100k.") else "latin-1")
        if len(separator) > 1:  # a separator of one character is parsed ten times faster
            text, separator = text.replace(separator, "\x1f"), "\x1f"
        try:
            table = pd.read_csv(
                io.StringIO(text), sep=separator, header=header, dtype=str, keep_default_na=False, quoting=3
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise ValueError(f"{self.path}/{name}: {error}") from error
        if table.shape[1] < len(columns):
            raise ValueError(f"{self.path}/{name}: expected {len(columns)} columns, got {table.shape[1]}")
        table = table.iloc[:, : len(columns)]
        table.columns = columns
        return table


RATINGS = ["user", "item", "rating", "time"]


def _read_1m(files: _Files) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    people = files.table("users.dat", "::", ["user", "gender", "age", "occupation"])
    people["age"] = people["age"].astype(int).map(AGES)
    people["occupation"] = people["occupation"].astype(int).map(dict(enumerate(OCCUPATIONS_1M)))
    films = files.table("movies.dat", "::", ["item", "title", "genres"])
    films["genres"] = films["genres"].str.split("|")
    return files.table("ratings.dat", "::", RATINGS), people, films


def _read_100k(files: _Files) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    people = files.table("u.user", "|", ["user", "age", "gender", "occupation"])
    films = files.table("u.item", "|", ["item", "title", "released", "video", "url", *GENRES_100K])
    flags = films[list(GENRES_100K)].to_numpy() == "1"
    films["genres"] = [[GENRES_100K[i] for i in np.flatnonzero(row)] for row in flags]
    return files.table("u.data", "\t", RATINGS), _age_groups(people), films[["item", "title", "genres"]]


def _read_recbole(files: _Files) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """RecBole's copy: the same ratings in the same order; titles without their year, which has its own column."""
    people = files.table("ml-100k.user", "\t", ["user", "age", "gender", "occupation"], header=0)
    films = files.table("ml-100k.item", "\t", ["item", "title", "year", "genres"], header=0)
    films["title"] = films["title"] + " (" + films["year"] + ")"
    films["genres"] = films["genres"].str.split()
    ratings = files.table("ml-100k.inter", "\t", RATINGS, header=0)
    return ratings, _age_groups(people), films


def _age_groups(people: pd.DataFrame) -> pd.DataFrame:
    edges = np.array(list(AGES))
    names = np.array(list(AGES.values()))
    people["age"] = names[np.searchsorted(edges, people["age"].astype(int), side="right") - 1]
    return people


def _log(ratings: pd.DataFrame, people: pd.DataFrame, films: pd.DataFrame, liked_from: float) -> InteractionLog:
    ratings, people, films = (table.assign(**{key: table[key].astype(np.int64)}) for table, key in
                              ((ratings, "item"), (people, "user"), (films, "item")))  # fmt: skip
    user_of_row = ratings["user"].astype(np.int64).to_numpy()
    user_ids, users = np.unique(user_of_row, return_inverse=True)
    item_ids, items = np.unique(ratings["item"].to_numpy(), return_inverse=True)
    people, films = people.set_index("user").reindex(user_ids), films.set_index("item").reindex(item_ids)
    labels = (ratings["rating"].astype(float) >= liked_from).to_numpy()
    counts = {
        "interactions": len(ratings),
        "users": len(user_ids),
        "items": len(item_ids),
        "users without a profile": int(people["gender"].isna().sum()),
        "items without genres": int(films["genres"].isna().sum()),
    }
    times = ratings["time"].astype(np.int64).to_numpy()
    return build_log(users, items + 1, times, labels, _users(user_ids, people), _catalogue(item_ids, films), counts)


def _users(ids: np.ndarray, people: pd.DataFrame) -> Users:
    fields, columns = [], []
    for name, order in (("age", list(AGES.values())), ("gender", None), ("occupation", None)):
        values = people[name]
        known = sorted(values.dropna().unique(), key=order.index if order else None)
        fields.append(ProfileField(name, tuple(known)))
        columns.append(values.map({value: index + 1 for index, value in enumerate(known)}).fillna(0).astype(np.int32))
    return Users(ids, np.stack(columns, axis=1).astype(np.int32), tuple(fields))


def _catalogue(ids: np.ndarray, films: pd.DataFrame) -> Catalogue:
    genres = [value if isinstance(value, list) else [] for value in films["genres"]]
    names = tuple(sorted({genre for each in genres for genre in each}))
    number = {name: index + 1 for index, name in enumerate(names)}
    categories = np.zeros((len(ids) + 2, max(1, *map(len, genres))), np.int32)
    for row, each in enumerate(genres, start=1):
        categories[row, : len(each)] = sorted(number[genre] for genre in each)
    return Catalogue(ids, categories, names, tuple(films["title"].fillna("").astype(str)))

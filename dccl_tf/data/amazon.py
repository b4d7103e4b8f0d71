"""Ten categories of Amazon reviews (5-core, 2014) as an `InteractionLog`: who reviewed what, in order, without labels.

    log = load_amazon("amazon")                        # a folder with interactions.parquet and items.parquet
    log = load_amazon("amazon", max_users=10_000)      # of the users that the filters keep

`interactions.parquet` has the columns user_id, item_id and timestamp, `items.parquet` item_id, category and domain.
A timestamp is the 0-based place in the user's own sequence: it orders one user's reviews, not those of two users, so
the log has no moments to split all users at. The reviews have no stars, so protocol `liked` is not to be had.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from dccl_tf.data.filters import filter_log, sample_users
from dccl_tf.data.schema import Catalogue, InteractionLog
from dccl_tf.data.table_files import TableFile
from dccl_tf.data.tables import TableColumns, load_table

LEAST = 8  # interactions of each user and each item (Appendix A.1)
SOURCE = (
    "Amazon reviews of ten categories, 5-core of 2014, from the given folder. J. McAuley, C. Targett, Q. Shi and "
    "A. van den Hengel, Image-based recommendations on styles and substitutes, SIGIR 2015: for research"
)
_FILES = ("interactions.parquet", "items.parquet")


def load_amazon(
    data_dir: str | Path | None = None,
    min_user_interactions: int = LEAST,
    min_item_interactions: int = LEAST,
    max_users: int | None = None,
    seed: int = 0,
) -> InteractionLog:
    """Loads and filters the log.

    An item's categories are its domain (one of the ten) and, where its domain is divided further, its category.

    Args:
      data_dir: the folder with both files, or one with a folder "amazon" that has them; by default DCCL_DATA.
      min_user_interactions: of each user that is kept.
      min_item_interactions: of each item that is kept; users and items are filtered until both hold.
      max_users: keep a sample of so many of these users, and the items that they met.
      seed: of the sample; one seed, one sample.

    Raises:
      FileNotFoundError: the files are not there.
      ValueError: a file is not as above, or the filters leave nothing.
    """
    folder = _folder(data_dir)
    interactions, items = (folder / name for name in _FILES)
    log = load_table(interactions, columns=TableColumns())
    log = replace(log, catalogue=_catalogue(items, log.catalogue.ids), source=SOURCE, shared_clock=False)
    log = filter_log(log, min_user_interactions, min_item_interactions)
    return log if max_users is None else sample_users(log, max_users, seed)


def _folder(data_dir: str | Path | None) -> Path:
    given = data_dir or os.environ.get("DCCL_DATA")
    if not given:
        raise FileNotFoundError(
            f"data_dir: expected the folder that holds {' and '.join(_FILES)}, as --data_dir or in DCCL_DATA, got none"
        )
    for folder in (Path(given), Path(given) / "amazon"):
        if all((folder / name).exists() for name in _FILES):
            return folder
    raise FileNotFoundError(
        f"{'data_dir' if data_dir else 'DCCL_DATA'}: expected a folder that holds {' and '.join(_FILES)}, or one with "
        f"a folder amazon that does, got {given}"
    )


def _catalogue(path: Path, ids: np.ndarray) -> Catalogue:
    """Domains and categories of the items `ids` [V]; an item without a row has none."""
    file = TableFile(path, ["item_id", "category", "domain"])
    file["item_id"].refuse_first(file.frame["item_id"].duplicated().to_numpy(), "each id once")
    items = file.frame.set_index("item_id").reindex(ids)
    categories = np.zeros((len(ids) + 2, 2), np.int32)
    known = items["domain"].notna().to_numpy()
    domain, names = _numbered(items["domain"][known].astype(str).to_numpy())
    categories[1:-1, 0][known] = domain + 1
    finer = (
        known
        & items["category"].notna().to_numpy()
        & (items.groupby("domain")["category"].transform("nunique") > 1).to_numpy()
    )
    of_finer = items[finer]
    category, finer_names = _numbered(
        (of_finer["domain"].astype(str) + " " + of_finer["category"].astype(int).astype(str)).to_numpy()
    )
    categories[1:-1, 1][finer] = category + 1 + len(names)
    return Catalogue(ids, categories, (*names, *finer_names))


def _numbered(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of each value among the different ones, and these in order."""
    names, numbers = np.unique(values.astype(str), return_inverse=True)
    return numbers, tuple(map(str, names))

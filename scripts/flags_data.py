"""The flags by which every program chooses its data, and what they load.

--dataset=ml-100k                           from a cache, GroupLens's server or PyPI; or --data_dir
--dataset=ml-1m --data_dir=ml-1m.zip        as downloaded from GroupLens
--dataset=amazon --data_dir=amazon          interactions.parquet and items.parquet; 8-core unless told otherwise
--dataset=synthetic --synthetic_users=2000  made up, with an oracle
--dataset=table --interactions=log.csv --items=items.parquet --categories_columns=brand,kind
--dataset=prepared --interactions=log.npz   what dccl-prepare-data wrote, or a .parquet folder of it
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from absl import flags, logging

from dccl_tf.data.amazon import LEAST, load_amazon
from dccl_tf.data.filters import cap_histories, filter_log
from dccl_tf.data.movielens import load_movielens
from dccl_tf.data.schema import InteractionLog
from dccl_tf.data.storage import read_log
from dccl_tf.data.synthetic import SHORTEST, Oracle, synthetic_log
from dccl_tf.data.table_files import MissingColumnError
from dccl_tf.data.tables import TableColumns, load_table

_MOVIELENS, _TABLE, _SYNTHETIC = ("ml-100k", "ml-1m"), ("table",), ("synthetic",)
# The data sets that a flag acts on; those that are not named here act on all.
SERVES = {
    "data_dir": (*_MOVIELENS, "amazon"),
    "rating_threshold": (*_MOVIELENS, "table"),
    "interactions": ("table", "prepared"),
    **dict.fromkeys(("items", "users", "user_column", "item_column", "timestamp_column", "label_column"), _TABLE),
    **dict.fromkeys(("rating_column", "categories_columns", "category_separator", "title_column"), _TABLE),
    **dict.fromkeys(("profile_columns", "id_type"), _TABLE),
    "max_users": ("amazon",),
    **dict.fromkeys(("synthetic_users", "synthetic_items", "synthetic_drift", "synthetic_seed"), _SYNTHETIC),
}

flags.DEFINE_enum(
    "dataset",
    "ml-100k",
    ["ml-100k", "ml-1m", "amazon", "synthetic", "table", "prepared"],
    "Which interactions to learn from.",
)
flags.DEFINE_string(
    "data_dir",
    None,
    "ml-100k, ml-1m: GroupLens's zip, or a folder with it or its files; amazon: the folder with the Parquet files; "
    "by default DCCL_DATA.",
)
flags.DEFINE_string(
    "interactions",
    None,
    "table: CSV(.gz), TSV(.gz) or Parquet, a row an interaction. prepared: the .npz file or .parquet folder.",
)
flags.DEFINE_string("items", None, "table: file with a row an item, for categories and titles.")
flags.DEFINE_string("users", None, "table: file with a row a user, for profiles.")
flags.DEFINE_string("user_column", "user_id", "table: the user's id, in interactions and users.")
flags.DEFINE_string("item_column", "item_id", "table: the item's id, in interactions and items.")
flags.DEFINE_string("timestamp_column", "timestamp", "table: numbers or ISO 8601 dates.")
flags.DEFINE_string("label_column", None, "table: 1 liked or clicked, 0 not; none: every interaction is positive.")
flags.DEFINE_string("rating_column", None, "table: ratings that become labels by --rating_threshold.")
flags.DEFINE_float("rating_threshold", 4.0, "Ratings from here on have the label 1, the others 0.")
flags.DEFINE_list("categories_columns", [], "table: columns of items; their cells may hold several categories.")
flags.DEFINE_string("category_separator", "|", "table: between several categories in one cell.")
flags.DEFINE_string("title_column", None, "table: column of items, for people.")
flags.DEFINE_list("profile_columns", [], "table: columns of users; numbers of many values are cut into quantiles.")
flags.DEFINE_enum("id_type", "auto", ["auto", "text"], "table: text takes ids of digits for text too.")
flags.DEFINE_integer(
    "min_user_interactions", None, "Leave out users with fewer; by default 1, amazon 8.", lower_bound=1
)
flags.DEFINE_integer(
    "min_item_interactions", None, "Leave out items with fewer; with users, the k-core. As above.", lower_bound=1
)
flags.DEFINE_integer("max_user_interactions", None, "Keep the newest of each user; by default all.", lower_bound=1)
flags.DEFINE_integer("max_users", None, "amazon: keep a sample of so many users, the same each time.", lower_bound=1)
flags.DEFINE_integer("synthetic_users", 1000, "synthetic: number of users.", lower_bound=1)
flags.DEFINE_integer(
    "synthetic_items", 800, "synthetic: number of items, twice the shortest history or more.", lower_bound=2 * SHORTEST
)
flags.DEFINE_float("synthetic_drift", 0.03, "synthetic: radians by which a taste turns at each interaction.")
flags.DEFINE_integer("synthetic_seed", 0, "synthetic: of everything made up.", lower_bound=0)


def load_log(values: flags.FlagValues) -> tuple[InteractionLog, Oracle | None]:
    """Loads and filters the data that the flags ask for.

    Args:
      values: parsed flags.

    Returns:
      The log; and the oracle of a synthetic one, as long as the filters left its sequences alone.

    Raises:
      FileNotFoundError, ValueError: what is wrong with the data, in words for people.
    """
    oracle = None
    least = LEAST if values.dataset == "amazon" else 1
    least_of_user, least_of_item = values.min_user_interactions or least, values.min_item_interactions or least
    require_fitting(values)
    if values.dataset in ("ml-100k", "ml-1m"):
        log = load_movielens(values.dataset, values.data_dir, rating_threshold=values.rating_threshold)
    elif values.dataset == "amazon":
        log = load_amazon(values.data_dir, least_of_user, least_of_item, values.max_users)
    elif values.dataset == "synthetic":
        log, oracle = synthetic_log(
            values.synthetic_seed,
            users=values.synthetic_users,
            items=values.synthetic_items,
            drift=values.synthetic_drift,
        )
    elif not values.interactions:
        raise ValueError(f"interactions: --dataset={values.dataset} expects --interactions=FILE, got none")
    elif values.dataset == "prepared":
        log = read_log(values.interactions)
    else:
        with naming_flags(values):
            log = load_table(values.interactions, values.items, values.users, table_columns(values))
    filtered = log if values.dataset == "amazon" else filter_log(log, least_of_user, least_of_item)
    if values.max_user_interactions:
        filtered = cap_histories(filtered, values.max_user_interactions)
    if oracle and filtered is not log:
        logging.warning("The filters changed the made-up sequences, so the oracle is left out")
        oracle = None
    return filtered, oracle


def require_fitting(values: flags.FlagValues) -> None:
    """Raises ValueError for a number that is none, and for a flag of another data set."""
    for name in ("rating_threshold", "synthetic_drift"):
        if not math.isfinite(values[name].value):
            raise ValueError(f"{name}: expected a finite number, got {values[name].value}")
    chosen = f"--dataset={values.dataset}" + ("" if _given(values["dataset"]) else ", the default")
    for name, served in SERVES.items():
        if _given(values[name]) and values.dataset not in served:
            raise ValueError(f"{name}: expected --dataset={' or '.join(served)} beside it, got {chosen}")


def _given(flag: flags.Flag) -> bool:
    return bool(flag.present) or flag.value != flag.default


def protocols_of(log: InteractionLog, asked: list[str] | None) -> list[str]:
    """The protocols that --protocols asks for; by default those that the log has labels for.

    Raises:
      ValueError: one is no protocol, or needs labels that the log has not.
    """
    if asked is None:
        return ["next"] if log.labels is None else ["next", "liked"]
    for name in asked or [""]:
        if name not in ("next", "liked") or (name == "liked" and log.labels is None):
            raise ValueError(f"protocols: expected 'next', or 'liked' for a log with labels, got {name!r}")
    return asked


@contextmanager
def naming_flags(values: flags.FlagValues) -> Iterator[None]:
    """A `MissingColumnError` inside also says which flag names the column."""
    try:
        yield
    except MissingColumnError as error:
        of_columns = [name for name in SERVES if name.endswith(("_column", "_columns"))]
        flag = next((name for name in of_columns if error.column in _as_list(values[name].value)), None)
        way_out = f"; --{flag} says what it is called" if flag else ""
        raise ValueError(f"{error}{way_out}") from error


def _as_list(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def table_columns(values: flags.FlagValues) -> TableColumns:
    """What the flags call the columns of a table."""
    return TableColumns(
        user=values.user_column,
        item=values.item_column,
        timestamp=values.timestamp_column,
        label=values.label_column,
        rating=values.rating_column,
        rating_threshold=values.rating_threshold,
        categories=tuple(values.categories_columns),
        category_separator=values.category_separator,
        title=values.title_column,
        profile=tuple(values.profile_columns),
        id_type=values.id_type,
    )

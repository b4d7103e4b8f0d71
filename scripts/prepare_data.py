r"""Loads a data set, filters it, says what it is like, and writes it as one file that loads in an instant.

  dccl-prepare-data --dataset=ml-1m --data_dir=ml-1m.zip --output=ml-1m.npz
  dccl-prepare-data --dataset=table --interactions=clicks.csv.gz --user_column=uid --item_column=sku \
      --timestamp_column=time --min_user_interactions=8 --min_item_interactions=8 --output=clicks.npz

Another program then takes --dataset=prepared --interactions=clicks.npz. Without --output nothing is written. Ends
with 0, or with 1 and one line on what was wrong. Needs no TensorFlow.

An --output that ends in .parquet becomes a folder of Parquet files with a row a user. For a log that one process cannot
hold, Spark makes the same folder; all machines must see the files and the folder:

  dccl-prepare-data --engine=spark --dataset=table --interactions=clicks/ --max_user_interactions=10000 \
      --output=sequences.parquet
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

from pathlib import Path

import numpy as np
from absl import flags

from dccl_tf.data.schema import InteractionLog, Span
from dccl_tf.data.sequences import padding_share
from dccl_tf.data.storage import save_log
from scripts import flags_data, flags_spark, programs

_OUTPUT = flags.DEFINE_string("output", None, "The .npz file or .parquet folder to write.")
_POSITIONS = (8, 16, 32, 64)
_PERCENTILES = (0, 10, 25, 50, 75, 90, 99, 100)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-prepare-data", argv, _run)


def _run() -> None:
    if flags_spark.ENGINE.value == "spark":
        return _run_spark()
    from dccl_tf.data.sequence_files import require_replaceable, write_sequences

    folder = (_OUTPUT.value or "").rstrip("/").endswith(".parquet")
    if folder:
        require_replaceable(Path(_OUTPUT.value))
    log, _ = flags_data.load_log(flags.FLAGS)
    print(describe(log))
    if not _OUTPUT.value:
        return
    if folder:
        path = write_sequences(log, _OUTPUT.value)
    else:
        path = save_log(log, _OUTPUT.value)
    print(f"\nwrote {path} ({_bytes(path):,} bytes)")


def _run_spark() -> None:
    values = flags.FLAGS
    if values.dataset != "table" or not values.interactions or not _OUTPUT.value:
        raise ValueError(
            "dataset, interactions, output: --engine=spark expects --dataset=table and both others, got "
            f"{values.dataset}, {values.interactions} and {_OUTPUT.value}"
        )
    flags_data.require_fitting(values)
    from dccl_tf.data.sequence_files import SequenceFolder
    from dccl_tf.spark.prepare import prepare_table

    with flags_spark.session() as spark, flags_data.naming_flags(values):
        path = prepare_table(
            spark,
            values.interactions,
            _OUTPUT.value,
            values.items,
            values.users,
            flags_data.table_columns(values),
            min_user_interactions=values.min_user_interactions or 1,
            min_item_interactions=values.min_item_interactions or 1,
            max_user_interactions=values.max_user_interactions,
        )
    words = SequenceFolder(path).words
    rows = {"source": words["source"]} | {
        f"loading: {name.replace('_', ' ')}": f"{n:,}" for name, n in words["counts"].items()
    }
    rows |= {name: f"{words[name]:,}" for name in ("users", "items", "interactions")}
    print(_aligned(rows))
    print(f"\nwrote {path} ({_bytes(path):,} bytes)")


def describe(log: InteractionLog) -> str:
    """What a log holds, as aligned text."""
    met = np.sort(np.bincount(log.items, minlength=len(log.catalogue) + 1)[1:])[::-1]
    head = max(1, len(met) // 10)
    rows = {"source": log.source} | {f"loading: {name.replace('_', ' ')}": f"{n:,}" for name, n in log.counts.items()}
    rows |= {
        "users": f"{len(log.users):,}",
        "items": f"{len(log.catalogue):,}",
        "interactions": f"{len(log.items):,}",
        "liked": "no labels" if log.labels is None else f"{log.labels.mean():.1%}",
        "categories": f"{len(log.catalogue.category_names):,}, up to {log.catalogue.categories.shape[1]} an item",
        "profile": ", ".join(f"{field.name} ({field.size - 1} values)" for field in log.users.fields),
        "met by the top tenth of items": f"{met[:head].sum() / max(met.sum(), 1):.1%}",
        "history length, percentiles": ", ".join(
            f"{int(value)} ({at}%)"
            for at, value in zip(_PERCENTILES, np.percentile(log.lengths, _PERCENTILES), strict=True)
        ),
        "padding of packed rows": ", ".join(
            f"{padding_share(Span(np.zeros_like(log.lengths), log.lengths), positions):.0%} (S = {positions})"
            for positions in _POSITIONS
        ),
    }
    return _aligned(rows)


def _aligned(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def _bytes(path: Path) -> int:
    """Of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def cli() -> None:
    """The console command `dccl-prepare-data`."""
    programs.start(main, __name__, flags_data.__name__, flags_spark.__name__)


if __name__ == "__main__":
    cli()

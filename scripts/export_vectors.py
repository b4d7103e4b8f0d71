"""Copies the newest vectors of some bundles from a store to one Parquet file, for a trainer without the database.

  dccl-export-vectors --store=sqlite:///vectors.sqlite --bundle=bundle0 --bundle=bundle1 --output=vectors.parquet

dccl-train-cloud takes the file as its --store. Device ids and vectors travel, keys do not.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

from absl import flags

from scripts import programs

_STORE = flags.DEFINE_string("store", "sqlite:///vectors.sqlite", "URL of the vector store.")
_BUNDLES = flags.DEFINE_multi_string("bundle", [], "A bundle whose vectors to copy; may be given several times.")
_OUTPUT = flags.DEFINE_string("output", None, "The .parquet file to write.")


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-export-vectors", argv, _run)


def _run() -> None:
    if not _BUNDLES.value or not str(_OUTPUT.value).endswith(".parquet"):
        raise ValueError(
            f"bundle, output: expected a bundle and a file that ends in .parquet, got {_BUNDLES.value} and "
            f"{_OUTPUT.value}"
        )
    from dccl_tf.vectors import newest_vectors
    from dccl_tf.vectors.parquet import write_vectors
    from device_runtime import Bundle

    newest = newest_vectors(_STORE.value)
    found = {identity: newest(identity) for identity in (Bundle.open(path).identity for path in _BUNDLES.value)}
    if not any(map(len, found.values())):
        raise ValueError(
            f"store: expected vectors of a bundle of {', '.join(_BUNDLES.value)} in {_STORE.value}, got none"
        )
    count = write_vectors(_OUTPUT.value, found)
    print(f"wrote {_OUTPUT.value}: {count} vectors")


def cli() -> None:
    """The console command `dccl-export-vectors`."""
    programs.start(main, __name__)


if __name__ == "__main__":
    cli()

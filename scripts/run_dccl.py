"""The whole loop of device-cloud collaborative learning on one data set (the paper's Algorithm 1).

Pretrains a DIN, learns the basis of its patches, exports one certified .tflite, lets devices train their vectors on
a TFLite runtime, collects the vectors, distils them into the cloud model, exports the next bundle and upgrades the
devices. Then judges every model on held-out clicks, prints the tables and writes report.html and report.json.

  dccl-run                                                    MovieLens-100K, both protocols
  dccl-run --dataset=ml-1m --data_dir=ml-1m.zip --output_dir=runs/ml-1m
  dccl-run --dataset=synthetic --protocols=liked --rounds=3
  dccl-run --dataset=table --interactions=clicks.csv --label_column=clicked
  dccl-run --dataset=ml-1m --data_dir=ml-1m.zip --trials=12   tuned first: rate, decay, dropout and prior, by validation

A killed run continues from --output_dir; a second run with the same seed gives the same numbers.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import time
from dataclasses import asdict
from pathlib import Path

from absl import flags, logging

from scripts import flags_data, flags_model, programs

_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where everything goes; by default runs/DATASET-seedSEED.")
_PROTOCOLS = flags.DEFINE_list(
    "protocols", None, "next, liked or both; by default both where the log has labels, else next."
)
_TRIALS = flags.DEFINE_integer(
    "trials", 0, "Settings to try before, with joint learning; 0: the defaults and the flags.", lower_bound=0
)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-run", argv, _run)


def _run() -> None:
    began = time.perf_counter()
    from dccl_tf import rounds, threads, tuning
    from dccl_tf.data.storage import log_identity
    from dccl_tf.files import alone_in
    from dccl_tf.findings import protocol_results
    from dccl_tf.report import Results, jsonable, results_table, write_report

    values = flags.FLAGS
    _refuse_other_way(values)
    log, oracle = flags_data.load_log(values)
    logging.info("%s", log.source)
    protocols = flags_data.protocols_of(log, _PROTOCOLS.value)
    configs = {name: flags_model.config(values, name) for name in protocols}
    threads.suit(values.item_width, values.batch_positions)
    folder = Path(_OUTPUT_DIR.value or f"runs/{values.dataset}-seed{values.seed}")
    with alone_in(folder, "output_dir"):
        found = {}
        for name, config in configs.items():
            logging.info("Protocol %s", name)
            place = folder / name
            if _TRIALS.value:
                trials = tuning.search_dccl(log, config, _TRIALS.value, folder / f"{name}-trials.jsonl")
                best = tuning.best(trials)
                configs[name] = config = tuning.configured(config, best.settings)
                logging.info("Trial %d is best: %s", best.number, best.settings or "the defaults")
                place = folder / f"{name}-trial{best.number}"
            outcome = rounds.run(log, config, place, log_identity(log))
            found[name] = protocol_results(log, config, outcome, oracle)
        results = Results(
            dataset=values.dataset,
            source=log.source,
            counts=log.counts,
            seed=values.seed,
            settings=jsonable({name: asdict(config) for name, config in configs.items()}),
            seconds=round(time.perf_counter() - began, 1),
            protocols=found,
            **programs.provenance("dccl-run"),
        )
        page = write_report(results, folder)
        print(f"\n{results_table(results)}\n\nresults: {page} and {page.with_suffix('.json')}")
        print(f"TensorBoard: tensorboard --logdir {folder}")


def _refuse_other_way(values: flags.FlagValues) -> None:
    """Raises ValueError for a flag that only matters to the other way of learning."""
    other = {
        "joint": ("basis_epochs", "basis_learning_rate"),
        "progressive": ("shared", "offset_pull", "closing_beta"),
    }[values.learning]
    for name in other:
        if values[name].present:
            raise ValueError(f"{name}: changes nothing with --learning={values.learning}; leave it out")


def cli() -> None:
    """The console command `dccl-run`."""
    programs.start(main, __name__, flags_data.__name__, flags_model.__name__)


if __name__ == "__main__":
    cli()

"""Trains one of the six models that the paper compares with, and judges it on held-out interactions.

  dccl-train-baseline --model=sasrec --dataset=ml-1m --data_dir=ml-1m.zip          with its defaults
  dccl-train-baseline --model=deepfm --protocol=liked --width=64 --dropout=0.3     with choices of your own
  dccl-train-baseline --model=mf --trials=12 --seed=1                              tuned: the best of 12 trials

Models: mf, fm, neumf, deepfm, sasrec, din. All learn everything before each user's validation interactions, which
alone decide when training stops and which trial is best; the test is looked at once, at the end. The first twelve
trials draw the same settings for every model, later ones near the best of those (see dccl_tf/tuning.py); a killed
search goes on from its file in --output_dir. The best settings are then trained anew with --seed.

Writes model.keras, result.json (metrics with 95% intervals, settings, command, versions) and trials.jsonl.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from absl import flags, logging

from scripts import flags_data, programs

_MODEL = flags.DEFINE_enum("model", None, ["mf", "fm", "neumf", "deepfm", "sasrec", "din"], "Which one.")
_PROTOCOL = flags.DEFINE_enum("protocol", "next", ["next", "liked"], "What the samples are, and how to judge.")
_SPLIT = flags.DEFINE_enum("split", "halves", ["halves", "time"], "Newest of each user held out, or of the log (A.1).")
_TRIALS = flags.DEFINE_integer("trials", 0, "Settings to try before; 0: the defaults and the flags.", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "Of everything that is left to chance.", lower_bound=0, upper_bound=2**32 - 2)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Where everything goes; by default runs/baselines/DATASET-PROTOCOL[-time]-MODEL-seedSEED."
)
# What changes the model's defaults; trials draw some of them anew.
_CHANGES = (
    flags.DEFINE_integer("width", None, "Of the vectors.", lower_bound=1),
    flags.DEFINE_float("dropout", None, "While it trains.", lower_bound=0.0),
    flags.DEFINE_float("learning_rate", None, "Peak of Adam's."),
    flags.DEFINE_float("weight_decay", None, "Decoupled, AdamW's.", lower_bound=0.0),
    flags.DEFINE_integer("negatives", None, "Protocol next: items drawn for each click.", lower_bound=1),
    flags.DEFINE_integer("epochs", None, "At most.", lower_bound=1),
    flags.DEFINE_integer("patience", None, "Epochs without a better validation before it stops.", lower_bound=0),
    flags.DEFINE_integer("history_length", None, "sasrec, din: T, newest items that they see.", lower_bound=1),
    flags.DEFINE_integer("batch_positions", None, "Clicks a batch.", lower_bound=1),
)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-train-baseline", argv, _run)


def _run() -> None:
    if not _MODEL.value:
        raise ValueError("model: expected one of mf, fm, neumf, deepfm, sasrec, din, got none")
    from dccl_tf import baselines, threads, tuning
    from dccl_tf.files import alone_in, whole, write_text
    from dccl_tf.metrics import estimate
    from dccl_tf.report import jsonable
    from dccl_tf.report.numbers import cell
    from dccl_tf.run_config import DcclConfig, split_log

    began = time.perf_counter()
    model, protocol, seed = _MODEL.value, _PROTOCOL.value, _SEED.value
    log, _ = flags_data.load_log(flags.FLAGS)
    logging.info("%s", log.source)
    split = split_log(log, DcclConfig(protocol=protocol, split=_SPLIT.value))
    name = f"{flags.FLAGS.dataset}-{protocol}{'-time' * (_SPLIT.value == 'time')}-{model}-seed{seed}"
    folder = Path(_OUTPUT_DIR.value or f"runs/baselines/{name}")
    with alone_in(folder, "output_dir"):
        changes: dict[str, Any] = {flag.name: flag.value for flag in _CHANGES if flag.value is not None}
        trials: list[tuning.Trial] = []
        recipe = baselines.recipe_for(model, protocol, **changes)
        if not _TRIALS.value:  # which try wide models, too
            threads.suit(baselines.setting_of(recipe, "width"), recipe.batch_positions)
        if _TRIALS.value:
            path = folder / "trials.jsonl"
            trials = tuning.search(model, log, split, protocol, _TRIALS.value, seed, path, **changes)
            recipe = baselines.changed(recipe, **tuning.best(trials).settings)
        valid, test = baselines.evaluators(recipe, log, split, seed)
        baseline, history = baselines.learn(recipe, log, split, seed, valid=valid)
        values = {name: estimate(value) for name, value in test(baseline).items() if not name.startswith("neg_")}
        with whole(folder / "model.keras") as file:
            baseline.model.save(file)
        result = {
            "model": model,
            "dataset": flags.FLAGS.dataset,
            "protocol": protocol,
            "split": _SPLIT.value,
            "seed": seed,
            "metrics": {name: asdict(value) for name, value in values.items()},
            "validation": {"metric": valid.selection_metric, "epochs": history.validation, "best": history.best_epoch},
            "settings": asdict(recipe),
            "trials": [asdict(trial) for trial in trials],
            "seconds": round(time.perf_counter() - began, 1),
            **programs.provenance("dccl-train-baseline"),
        }
        write_text(folder / "result.json", json.dumps(jsonable(result), indent=1))
        print(f"{model}, {protocol}, seed {seed}: best epoch {history.best_epoch + 1} of {len(history.loss)}")
        for name, value in values.items():
            print(f"  {name:16} {cell(name, value)}")
        print(f"results: {folder / 'result.json'}")


def cli() -> None:
    """The console command `dccl-train-baseline`."""
    programs.start(main, __name__, flags_data.__name__)


if __name__ == "__main__":
    cli()

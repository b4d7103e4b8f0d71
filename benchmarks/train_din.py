"""How fast DIN trains here, in DeepCTR and in RecBole: one machine, the same samples, the same cores.

    python benchmarks/train_din.py --dataset=ml-1m --data_dir=ml-1m.zip \\
        --deepctr_python=DEEPCTR/bin/python --recbole_python=RECBOLE/bin/python

Each opponent runs in an environment of its own, and is left out where none is given:

    python -m venv DEEPCTR; DEEPCTR/bin/pip install tensorflow==2.21.* tf_keras==2.21.* "numpy<2" "setuptools<81"
    DEEPCTR/bin/pip install --no-deps deepctr==0.9.4
    python -m venv RECBOLE; RECBOLE/bin/pip install recbole==1.2.1 torch "numpy<2" "setuptools<81" "pandas<3"

A position is one click of one user; each has one true and some drawn items, every one a sample. Every program trains
once on the same samples in batches of as many samples, with Adam at one rate (ours falls along its cosine), and is
then judged on the same held-out samples; further passes are timed and the best counts. Items have an id and nothing
else, all models the same widths. Ours is timed with all that an epoch needs, from drawing items on, its averaged
weights included; the others get their batches ready-made.

Wall time is what people wait; where other work shares the cores, the ratios of CPU time (all cores together) are
what to trust, but for RecBole's, whose idle threads spin. Matrix rate: the products that a model needs, against large
products of TensorFlow on these cores.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from dccl_tf.data.batches import point_rows
from dccl_tf.data.schema import Catalogue, InteractionLog, Span, Users
from dccl_tf.data.sequences import split_next
from dccl_tf.training_data import TrainingData
from scripts import flags_data

_HISTORIES = flags.DEFINE_multi_integer("history_length", [50, 200], "T; may be given several times.")
_POSITIONS = flags.DEFINE_integer("train_positions", 10_000, "Positions to train on.", lower_bound=100)
_ROWS = flags.DEFINE_integer("batch_rows", 64, "Packed rows of a batch; decides how many samples all have.")
_OPPONENTS_BATCH = flags.DEFINE_integer(
    "opponents_batch",
    0,
    "Samples of the opponents' batches; 0: as many as ours. They need memory for every pair of sample and history "
    "item, and are a little faster with some 1,000.",
    lower_bound=0,
)
_NEGATIVES = flags.DEFINE_integer("negatives", 4, "Items drawn for each true one.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("item_width", 32, "D.", lower_bound=2)
_HIDDEN = flags.DEFINE_list("hidden", ["64", "32", "32"], "Widths of the fully connected layers.")
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam, constant.")
_REPEATS = flags.DEFINE_integer("repeats", 2, "Timed passes.", lower_bound=1)
_CORES = flags.DEFINE_integer("cores", 2, "CPU cores that each program may use.", lower_bound=1)
_DEEPCTR = flags.DEFINE_string("deepctr_python", None, "Python of an environment with DeepCTR.")
_RECBOLE = flags.DEFINE_string("recbole_python", None, "Python of an environment with RecBole.")
_JSON = flags.DEFINE_string("json", None, "File for the figures.")

POSITIONS_OF_A_ROW = 32  # S
TEST_POSITIONS = 1000


def main(argv: Sequence[str]) -> None:
    """Runs every program that is there and prints a table for each history length."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags alone, got {argv[1]!r}")
    if hasattr(os, "sched_setaffinity"):  # Linux; inherited by the programs that are started
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: _CORES.value])
    log = ids_alone(flags_data.load_log(flags.FLAGS)[0])
    found = {}
    for history_length in _HISTORIES.value:
        results = measure(log, history_length)
        print(table(history_length, results), flush=True)
        found[history_length] = results
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps({"command": sys.argv[1:], "results": found}, indent=1))


def ids_alone(log: InteractionLog) -> InteractionLog:
    """The log without categories and profiles, which the opponents would each treat in a way of their own."""
    catalogue = Catalogue(log.catalogue.ids, np.zeros((len(log.catalogue) + 2, 0), np.int32), ())
    users = Users(log.users.ids, np.zeros((len(log.users), 1), np.int32), log.users.fields[:1])
    return replace(log, catalogue=catalogue, users=users)


def measure(log: InteractionLog, history_length: int) -> dict[str, dict[str, Any]]:
    """Figures of each program."""
    split = split_next(log, 1)
    span = Span(split.pretrain.start, split.rounds[-1].stop)
    data = TrainingData(
        log, span, "next", history_length, POSITIONS_OF_A_ROW, _ROWS.value, negatives=_NEGATIVES.value
    )  # fmt: skip
    programs = {
        "ours": (sys.executable, "train_din_ours.py"),
        "DeepCTR": (_DEEPCTR.value, "train_din_deepctr.py"),
        "RecBole": (_RECBOLE.value, "train_din_recbole.py"),
    }
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder) / "case.npz"
        write_case(case, log, data, held_out(log, split.valid, data))
        for name, (python, program) in programs.items():
            if not python:
                logging.info("%s is left out: no --%s_python", name, name.lower())
                continue
            answer = Path(folder) / f"{name}.json"
            command = [python, str(Path(__file__).with_name(program)), str(case), str(answer)]
            environment = os.environ | {"OMP_NUM_THREADS": str(_CORES.value), "TF_CPP_MIN_LOG_LEVEL": "2"}
            run = subprocess.run(command, env=environment, capture_output=True, text=True)
            if run.returncode:
                logging.warning("%s is left out: %s", name, run.stderr.strip().splitlines()[-1:])
                continue
            results[name] = json.loads(answer.read_text())
    return results


def write_case(path: Path, log: InteractionLog, data: TrainingData, test: dict[str, np.ndarray]) -> None:
    """What the programs read: for ours the rows, drawn from anew, for the others all samples as they come from them."""
    steps = min(data.steps, -(-_POSITIONS.value // (data.batch_rows * data.positions)))
    histories, candidates, targets = [], [], []
    for batch in data(0).take(steps):
        batch = {name: value.numpy() for name, value in batch.items()}
        windows = np.lib.stride_tricks.sliding_window_view(batch["history"], data.history_length, axis=1)  # [B, S, T]
        real = batch["weights"] > 0
        histories.append(windows[real])
        candidates.append(batch["candidates"][real])
        targets.append(batch["targets"][real])
    settings = {
        "items": len(log.catalogue),
        "history_length": data.history_length,
        "positions": data.positions,
        "batch_rows": data.batch_rows,
        "batch_samples": _OPPONENTS_BATCH.value or data.batch_rows * data.positions * data.candidates,
        "negatives": data.negatives,
        "steps": steps,
        "width": _WIDTH.value,
        "hidden": [int(width) for width in _HIDDEN.value],
        "learning_rate": _RATE.value,
        "repeats": _REPEATS.value,
        "cores": _CORES.value,
    }
    np.savez(
        path,
        settings=json.dumps(settings),
        history=np.concatenate(histories),
        candidates=np.concatenate(candidates),
        targets=np.concatenate(targets),
        log_items=log.items,
        log_offsets=log.offsets,
        span=np.stack([data.span.start, data.span.stop]),
        **{f"test_{name}": value for name, value in test.items()},
    )


def held_out(log: InteractionLog, span: Span, data: TrainingData) -> dict[str, np.ndarray]:
    """History [N, T], candidates [N, C] and targets [N, C] of some users' validation positions."""
    users = np.flatnonzero(span.stop > span.start)[:TEST_POSITIONS]
    positions = span.start[users]
    drawn = data.sampler.draw_for(users, positions, data.negatives, seed=1, epoch=0)
    candidates = np.concatenate([log.items[log.offsets[users] + positions][:, None], drawn], axis=1)
    targets = np.zeros(candidates.shape, np.float32)
    targets[:, 0] = 1.0
    return {
        "history": point_rows(log, users, positions, data.history_length)[0],
        "candidates": candidates,
        "targets": targets,
    }


def table(history_length: int, results: dict[str, dict[str, Any]]) -> str:
    """The figures as lines of text."""
    lines = [
        f"history {history_length}, {_CORES.value} cores",
        f"{'':10}{'positions/s':>12}{'samples/s':>11}{'ours is':>9}{'CPU us/position':>17}{'ours is':>9}"
        f"{'matrix rate':>13}{'peak MB':>9}{'loss':>8}{'held out':>10}",
    ]
    ours = results.get("ours")
    for name, found in results.items():
        wall, cpu = (1e6 * found[kind] / found["positions"] for kind in ("seconds", "cpu_seconds"))
        share = ""
        if ours:
            share = f"{found['flops'] / found['seconds'] / ours['matrix_flops']:.0%}"
        times = [f"{value:.1f}x" for value in (wall / ours_us(ours, "seconds"), cpu / ours_us(ours, "cpu_seconds"))]
        lines.append(
            f"{name:10}{1e6 / wall:12,.0f}{1e6 / wall * found['samples'] / found['positions']:11,.0f}{times[0]:>9}"
            f"{cpu:17.1f}{times[1]:>9}{share:>13}{found['peak_bytes'] / 1e6:9,.0f}{found['loss']:8.4f}"
            f"{found['test_loss']:10.4f}"
        )
    return "\n".join(lines)


def ours_us(ours: dict[str, Any] | None, kind: str) -> float:
    """Our microseconds a position; NaN without a result of ours."""
    return 1e6 * ours[kind] / ours["positions"] if ours else float("nan")


if __name__ == "__main__":
    app.run(main)

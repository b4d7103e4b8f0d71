"""Reproduces the paper's tables and figures, and the ablations that it leaves out, on one data set.

  dccl-reproduce --quick                                              most of it on MovieLens-100K, in minutes
  dccl-reproduce --dataset=ml-1m --data_dir=data --seeds=0,1,2,3,4    all tables and figures
  dccl-reproduce --dataset=ml-1m --data_dir=data --table=2 --seeds=0,1,2
  dccl-reproduce --dataset=amazon --data_dir=data --table=2,3 --figure=4,7
  dccl-reproduce --dataset=ml-1m --data_dir=data --ablation=K,beta    or --ablation=all
  dccl-reproduce --dataset=ml-1m --data_dir=data --list               what there is to do, and what is done

A study is a list of cells: one model, or one run of device-cloud learning, on one protocol and seed. A finished cell
lies in --work_dir and is found again by whatever needs it, so a killed study goes on where it was, and a second call
with more seeds, tables or ablations trains only what is new. What cells have in common, such as an ablation's baseline,
is trained once and lies in --work_dir/running, which may be deleted when nothing runs. Then means, spreads over seeds
and paired differences are written to results/NAME.json, to the sections between markers of docs/results.md, and to
docs/figures/, all under --output_dir. A --quick study trains for a few epochs, and leaves out Table 4 and Fig. 5's
shorter intervals unless asked for: it shows that all works, not what is true, and writes under --work_dir.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

from pathlib import Path
from typing import Any

from absl import flags

from scripts import flags_data, programs

_TABLES = flags.DEFINE_list("table", [], "2, 3, 4, or several with commas.")
_FIGURES = flags.DEFINE_list("figure", [], "4, 5, 6, 7, or several with commas.")
_ABLATIONS = flags.DEFINE_list("ablation", [], "Names of ablations with commas, or all; a wrong name lists them.")
_PROTOCOLS = flags.DEFINE_list("protocols", None, "next, liked or both; by default both where the log has labels.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Whole numbers with commas; five for a claim.")
_WORK_DIR = flags.DEFINE_string("work_dir", "runs/study", "Where finished cells lie, and those that run.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", ".", "Gets results/, docs/results.md and docs/figures/.")
_QUICK = flags.DEFINE_bool("quick", False, "Short training, to see that all works.")
_LIST = flags.DEFINE_bool("list", False, "Only say which cells there are, and which are done.")
_RUN = flags.DEFINE_bool("run", True, "--norun: train nothing, write what is done.")


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-reproduce", argv, _run)


def _run() -> None:
    from dccl_tf import study, threads
    from dccl_tf.data.storage import log_identity

    values = flags.FLAGS
    plans = _plans(study)
    seeds = _seeds()
    log, _ = flags_data.load_log(values)
    protocols = flags_data.protocols_of(log, _PROTOCOLS.value)
    work = Path(_WORK_DIR.value)
    job = study.Study(
        dataset=f"{values.dataset}-{values.max_users}-users" if values.max_users else values.dataset,
        protocols=tuple(protocols),
        seeds=seeds,
        folder=work,
        output=work / "quick" if _QUICK.value else Path(_OUTPUT_DIR.value),
        settings=lambda cell: study.settings_of(cell, _QUICK.value),
        identity=log_identity(log),
    )
    cells = job.cells(plans)
    if _LIST.value:
        for cell in cells:
            print(f"{'done' if job.is_done(cell) else 'to do':6} {cell}")
        return
    failed = []
    if _RUN.value:
        threads.suit(*study.largest(cells, _QUICK.value))  # the same for a study that goes on where it was killed
        shared = work / "running" / "shared"  # the baseline of an ablation's cells is one
        failed = job.run(
            cells, lambda cell, folder: study.run_cell(cell, log, folder, job.identity, _QUICK.value, shared)
        )
    written = job.write(plans, log, programs.provenance("dccl-reproduce"))
    for path in written:
        print(f"wrote {path}")
    if written:
        print(f"wrote {job.output / 'docs' / 'results.md'}")
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(cells)} cells failed; call again to try them again: {'; '.join(failed)}"
        )


def _plans(study: Any) -> list[Any]:
    """The tables, figures and ablations that the flags name; all tables and figures if they name none."""
    tables, figures, ablations = _TABLES.value, _FIGURES.value, _ABLATIONS.value
    if not (tables or figures or ablations):
        tables, figures = ["2", "3"] if _QUICK.value else list(study.TABLES), list(study.FIGURES)
    return [
        *map(study.plan_of_table, tables),
        *(study.plan_of_figure(name, _QUICK.value) for name in figures),
        *map(study.plan_of_sweep, study.ABLATIONS if ablations == ["all"] else ablations),
    ]


def _seeds() -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(map(int, _SEEDS.value)))
    except ValueError:
        raise ValueError(f"seeds: expected whole numbers with commas, got {','.join(_SEEDS.value)}") from None
    if not seeds or min(seeds) < 0:
        raise ValueError(f"seeds: expected whole numbers of at least 0, got {','.join(_SEEDS.value) or 'none'}")
    return seeds


def cli() -> None:
    """The console command `dccl-reproduce`."""
    programs.start(main, __name__, flags_data.__name__)


if __name__ == "__main__":
    cli()

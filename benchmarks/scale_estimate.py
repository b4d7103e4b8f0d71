"""From measured costs to what other sizes need: each formula is a line here, each measured input a line of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Measured by benchmarks that are not of `scale.py`; see the page for their circumstances.
TRAINING_CPU_SECONDS = 1.003 / 56_235  # a position, T = 50: benchmarks/train_din.py, results/train-din.json
DISTILLING = 1.43 + 1.16  # Eq. 5 and Eq. 7 against plain training, CPU time: results/distill-ml-1m-liked.json
UPLOAD_BYTES = 238  # a signed upload at K = 32: benchmarks/device.py
BUNDLE_BYTES_AN_ITEM = 14.6e6 / 68_000  # float32, ids included: benchmarks/device.py
LOG_BYTES_A_SAMPLE = 4 + 8 + 1  # of `InteractionLog`: item, timestamp, label


@dataclass(frozen=True)
class Plan:
    """Sizes of a deployment."""

    users: float  # each with a device
    goods: float  # items, V
    batch: float  # samples of a step of training
    samples: float  # interactions of all users
    epochs: float  # of the cloud's training
    cores: float  # of the cluster
    shipped: float  # items that a bundle knows; the others are out of its vocabulary


def tables(measured: Mapping[str, Mapping[str, Any]], plan: Plan) -> str:
    """The measured inputs and what follows from them, as Markdown."""
    fleets = {name: one for name, one in measured.items() if name.startswith("fleet-")}
    for part, missing in (
        ("sequences", "sequences-spark" not in measured),
        ("fleet", not fleets),
        ("uploads", "uploads" not in measured),
        ("table", "table" not in measured),
    ):
        if missing:
            raise ValueError(f"results: expected figures of all parts; run --parts={part} first")
    fleets = dict(sorted(fleets.items(), key=lambda one: one[1]["devices"]))
    return "\n\n".join([_sequences(measured), _fleets(fleets, measured), _needs(_costs(measured, fleets), plan)])


def _sequences(measured: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            engine,
            f"{one['rows']:,}",
            f"{one['seconds']:,.0f}",
            f"{one['cpu_seconds']:,.0f}",
            f"{one['cpu_seconds'] / one['rows'] * 1e6:.1f}",
            f"{one['peak_bytes'] / 2**30:.1f}",
            f"{one['output_bytes'] / one['rows']:.1f}",
            f"{one['load']:.0f}",
        ]
        for engine in ("process", "spark")
        if (one := measured.get(f"sequences-{engine}"))
    ]
    head = ["log to sequences", "rows", "seconds", "CPU s", "CPU s / million rows", "peak GiB", "bytes a row", "load"]
    return _markdown(head, rows)


def _fleets(fleets: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Mapping[str, Any]]) -> str:
    named = [("fleet on Spark", one) for one in fleets.values()]
    named += [("an interpreter each", measured["devices"])] if "devices" in measured else []
    rows = [
        [
            name,
            f"{one['devices']:,}",
            f"{one['seconds']:,.0f}",
            f"{one['cpu_seconds']:,.0f}",
            f"{one['devices'] / one['seconds']:,.0f}",
            f"{one['cpu_seconds'] / one['devices'] * 1e3:.2f}",
            f"{one['peak_bytes'] / 2**30:.2f}",
            f"{one['load']:.0f}",
        ]
        for name, one in named
    ]
    head = [
        "an epoch of 20 samples",
        "devices",
        "seconds",
        "CPU s",
        "devices / s",
        "CPU ms / device",
        "peak GiB",
        "load",
    ]
    return _markdown(head, rows)


@dataclass(frozen=True)
class _Costs:
    """CPU seconds and bytes of one of each."""

    row: float  # of a log, to sequences
    row_bytes: float  # stored
    simulated: float  # 20 samples of a simulated device
    upload: float
    store_bytes: float  # a device in the database
    table: float  # an item in a step of the optimiser


def _costs(measured: Mapping[str, Mapping[str, Any]], fleets: Mapping[str, Mapping[str, Any]]) -> _Costs:
    spark, uploads = measured["sequences-spark"], measured["uploads"]
    largest, smallest = (pick(fleets.values(), key=lambda one: one["devices"]) for pick in (max, min))
    # The difference of two sizes leaves out what starting costs.
    more = largest["devices"] - smallest["devices"]
    spent = largest["cpu_seconds"] - smallest["cpu_seconds"] if more else largest["cpu_seconds"]
    return _Costs(
        row=spark["cpu_seconds"] / spark["rows"],
        row_bytes=spark["output_bytes"] / spark["rows"],
        simulated=spent / (more or largest["devices"]),
        upload=uploads["cpu_seconds"] / uploads["uploads"],
        store_bytes=uploads["store_bytes_a_device"],
        table=measured["table"]["cpu_seconds"] / measured["table"]["steps"] / measured["table"]["items"],
    )


def _needs(costs: _Costs, plan: Plan) -> str:
    users, samples = plan.users, plan.samples
    training = TRAINING_CPU_SECONDS * samples * plan.epochs
    moving = costs.table * plan.goods * samples * plan.epochs / plan.batch
    steps: list[tuple[str, str, float | None, float | None]] = [  # name, formula, CPU seconds, bytes
        ("log to sequences", f"{costs.row * 1e6:.1f} us x samples", costs.row * samples, costs.row_bytes * samples),
        ("training DIN", f"{TRAINING_CPU_SECONDS * 1e6:.0f} us x samples x epochs", training, None),
        (
            "training: the log in memory",
            f"{LOG_BYTES_A_SAMPLE} bytes x samples",
            None,
            LOG_BYTES_A_SAMPLE * samples,
        ),
        (
            "training: all items move each step",
            f"{costs.table * 1e6:.3f} us x goods x samples x epochs / {plan.batch:,.0f}",
            moving,
            None,
        ),
        ("distillation (Eq. 5, 7)", f"{DISTILLING:.1f} x training", DISTILLING * training, None),
        (
            "fleet, an epoch of all samples",
            f"{costs.simulated * 1e3:.2f} ms x samples / 20",
            costs.simulated * samples / 20,
            None,
        ),
        ("checks and store", f"{costs.upload * 1e6:.0f} us x users", costs.upload * users, costs.store_bytes * users),
        ("uploads on the wire", f"{UPLOAD_BYTES} bytes x users", None, UPLOAD_BYTES * users),
        (
            "a bundle with all goods",
            f"{BUNDLE_BYTES_AN_ITEM:.0f} bytes x goods",
            None,
            BUNDLE_BYTES_AN_ITEM * plan.goods,
        ),
        (
            f"delivery, {plan.shipped:,.0f} items a bundle",
            f"{BUNDLE_BYTES_AN_ITEM:.0f} bytes x items x users",
            None,
            BUNDLE_BYTES_AN_ITEM * plan.shipped * users,
        ),
    ]
    rows = [
        [
            name,
            formula,
            f"{seconds / 3600:,.1f}" if seconds else "",
            f"{seconds / 60 / plan.cores:,.1f}" if seconds else "",
            _size(size) if size else "",
        ]
        for name, formula, seconds, size in steps
    ]
    who = f"{users:,.0f} users, {samples:,.0f} samples, {plan.goods:,.0f} goods, epochs: {plan.epochs:g}"
    return _markdown([who, "formula", "core hours", f"minutes on {plan.cores:,.0f} cores", "bytes"], rows)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:,.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} PB"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])

"""Times of a device on this machine; the parts of benchmarks/device.py that run in its own process.

All are processor time of the one thread that works: on an idle machine the time that passes, on a busy one not what
others took meanwhile.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from device_runtime import Bundle, Device, PersonalizeConfig, Runtime, read_outline, training_schedule
from device_runtime.learning.weighing import log_loss

clock = time.thread_time

ROWS, EPOCHS = 500, 5  # of the comparison with and without encoded rows
HELD_OUT = 0.2


def signatures(runtime: Runtime, items: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of one call of each signature, the interpreter alone."""
    rng = np.random.default_rng(0)
    times = {}
    for name in ("init", "get", "set", "infer", "encode", "evaluate", "evaluate_encoded", "train", "train_encoded"):
        values = {key: _plausible(key, spec.shape, items, rng) for key, spec in runtime.signatures[name].inputs.items()}
        runner = runtime._runners[name]
        times[name] = median(lambda runner=runner, values=values: runner(**values), repeats)
    return times


def python_layer(bundle: Bundle, runtime: str, raw: dict[str, float], repeats: int) -> dict[str, float]:
    """Median milliseconds of a ranking of C candidates and of a step, through `Device`, and microseconds of each that
    the interpreter does not account for."""
    with _device(bundle, runtime, 10 * bundle.manifest.train_batch) as device:
        candidates = bundle.vocabulary.ids[: bundle.manifest.candidates]
        rank, ends = median(lambda: device.rank(candidates), repeats), []
        config = PersonalizeConfig(epochs=max(3, repeats // 10), heldout_fraction=0.0, learning_rate=1e-3)
        device.personalize(config, on_step=lambda epoch, step, loss: ends.append(clock()))
    step = 1e3 * statistics.median(np.diff(ends))
    return {
        "rank_ms": rank,
        "rank_python_us": 1e3 * (rank - raw["infer"]),
        "step_ms": step,
        "step_python_us": 1e3 * (step - raw["train_encoded"]),
    }


def cache(bundle: Bundle, runtime: str, repeats: int = 9) -> dict[str, float]:
    """A personalisation on encoded rows, as devices do it, against one that goes from ids at every step: the same rows,
    in the same order, with the same held-out losses."""
    with _device(bundle, runtime, ROWS) as device:
        in_use = device._in_use
        learner, state, profile = in_use.learner, in_use.state, in_use.profile
        config = learner.settings(PersonalizeConfig(epochs=EPOCHS, heldout_fraction=HELD_OUT))
        began = clock()
        rows, _ = learner._rows(config)
        reading = clock() - began  # from the log, the same for both
        encoded, plain, vectors = [], [], []
        for _ in range(repeats):  # in turn, and the least of each: what a busy machine disturbed least
            began = clock()
            training = learner._training(rows, profile, state.anchor, config)
            at = training.begin(state.current)
            while not training.over(at):
                _, at = training.step(at)
            encoded.append(clock() - began)
            began = clock()
            vector = _from_ids(learner.engine.runtime, bundle, rows, state, profile, training, config)
            plain.append(clock() - began)
            vectors.append(np.abs(vector - at.current.vector).max())
    return {
        "encoded_ms": 1e3 * min(encoded),
        "plain_ms": 1e3 * min(plain),
        "ratio": min(plain) / min(encoded),
        "difference_of_vectors": float(max(vectors)),
        "reading_log_ms": 1e3 * reading,
    }


def limit(
    runtime: Runtime, bundle: Bundle, raw: dict[str, float], widths: tuple[int, ...], rank: int
) -> dict[str, float]:
    """What a step on encoded rows would take at the rate of this machine's matrix products, and what else it costs.

    Args:
      widths: units of the layers, the first junction's F first; each has a junction.
      rank: R of each.
    """
    batch, length = bundle.manifest.train_batch, bundle.manifest.metapatch_length
    patches = sum(2 * width * rank for width in widths)  # multiply-adds of a row; as many weights
    layers = sum(a * b for a, b in zip(widths, (*widths[1:], 1), strict=True))
    below_first = widths[0] * rank  # the gradient that nobody asks for: of what lies below the first patch
    rows = batch * (patches + layers + 2 * patches - below_first + layers)
    basis = 2 * length * (patches + sum(width + rank for width in widths))  # forwards and backwards
    outline = read_outline(bundle.model_bytes)
    operators = {
        name: sum(use.counts[outline.signatures[name]] for use in outline.operators)
        for name in ("get", "train_encoded")
    }
    products = 1e3 * (rows / _product_rate() + basis / _vector_rate(length, basis // (2 * length)))
    call = raw["get"]  # a call that computes next to nothing
    return {
        "multiply_adds": rows + basis,
        "limit_at_product_rate_ms": 1e3 * (rows + basis) / _product_rate(),
        "products_ms": products,
        "call_ms": call,
        "operators": operators["train_encoded"],
        "operators_of_get": operators["get"],
        "rest_ms": raw["train_encoded"] - products - call,
        "rest_us_per_operator": 1e3 * (raw["train_encoded"] - products - call) / operators["train_encoded"],
    }


def median(call: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of a call, after some to warm up."""
    seconds = []
    for _ in range(repeats + 10):
        began = clock()
        call()
        seconds.append(clock() - began)
    return 1e3 * statistics.median(seconds[10:])


def _from_ids(runtime, bundle, rows, state, profile, training, config) -> np.ndarray:  # noqa: ANN001
    """docs/protocol.md, Personalisation, with `train` and `evaluate`: the vector after the last step."""
    size, length = bundle.manifest.train_batch, bundle.manifest.history_length

    def batch(chosen: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        real = chosen >= 0
        window = rows.at[chosen][:, None] + np.arange(length)
        ids = {"history": rows.items[window] * real[:, None], "candidates": rows.candidates[chosen] * real}
        if bundle.manifest.history_labels:
            ids["history_labels"] = rows.item_labels[window] * real[:, None]
        return ids | {"profile": profile[None]}, rows.labels[chosen] * real, real.astype(np.float32)

    def weigh(gate: float) -> float:
        total = 0.0
        for begin in range(0, len(training.heldout), size):
            part = training.heldout[begin : begin + size]
            ids, labels, weights = batch(np.pad(part, (0, size - len(part)), constant_values=-1))
            logits = runtime.call("evaluate", gate=np.array([gate], np.float32), **ids)["logits"]
            total += float((log_loss(logits, labels) * weights).sum())
        return total / len(training.heldout)

    runtime.call("set", **state.current._asdict())
    settings = {
        "learning_rate": np.array([config.learning_rate], np.float32),
        "anchor": state.anchor,
        "pull": np.array([training.pull_of_a_step], np.float32),
    }
    weigh(0.0)
    vector = state.current.vector
    for order in training_schedule(len(training.training), size, config.epochs, config.seed):
        for step in order:
            ids, labels, weights = batch(np.where(step >= 0, training.training[step], -1))
            runtime.call("train", labels=labels, weights=weights, **settings, **ids)
            vector = runtime.call("get", unused=np.zeros(1, np.float32))["vector"]
        weigh(1.0)
    return vector


@contextmanager
def _device(bundle: Bundle, runtime: str, rows: int) -> Iterator[Device]:
    """A new device with `rows` interactions."""
    rng, ids = np.random.default_rng(0), bundle.vocabulary.ids
    with tempfile.TemporaryDirectory() as folder, Device.open(folder, bundle, runtime=runtime) as device:
        device.log_many([ids[place] for place in rng.integers(0, len(ids), rows)], rng.integers(0, 2, rows))
        yield device


def _plausible(name: str, shape: tuple[int, ...], items: int, rng: np.random.Generator) -> np.ndarray:
    """Values of an input; vectors, anchors and pulls are 0."""
    if name in ("history", "candidates"):
        return rng.integers(1, items + 1, shape, np.int32)
    if name in ("history_labels", "profile"):
        return np.zeros(shape, np.int32)
    if name == "hidden":
        return rng.random(shape, np.float32)
    return np.full(shape, {"weights": 1.0, "gate": 1.0, "learning_rate": 1e-3}.get(name, 0.0), np.float32)


def _product_rate() -> float:
    """Multiply-adds a second of a product of large matrices, float32, by NumPy on one thread."""
    side = 512
    left = np.random.default_rng(0).random((side, side), np.float32)
    return side**3 / (1e-3 * median(lambda: left @ left, 20))


def _vector_rate(length: int, weights: int) -> float:
    """Multiply-adds a second of a vector [length] with a matrix [length, weights]: each weight is used once."""
    rng = np.random.default_rng(0)
    vector, basis = rng.random(length, np.float32), rng.random((length, weights), np.float32)
    return length * weights / (1e-3 * median(lambda: vector @ basis, 50))

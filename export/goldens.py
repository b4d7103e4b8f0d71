"""Golden calls: a short, fixed life of a device, whose outputs any runtime must reproduce."""

import numpy as np

from dccl_tf.models.din import DinConfig
from device_runtime.bundle.goldens import to_tensors
from export.device_module import Sizes
from protos import dccl_pb2

Arrays = dict[str, np.ndarray]

TRAIN_STEPS = 5
TOLERANCE = 1e-4  # of outputs up to 1, relative beyond: kernels of other processors and runtimes add in another order
_PLACES, _NEIGHBOURS = 8, 8


def golden_calls(config: DinConfig, sizes: Sizes, length: int, seed: int = 0) -> list[tuple[str, Arrays]]:
    """Signatures and inputs, to be run in order on a fresh interpreter.

    They train a little, look at the state in between, move it (`rebase`, `set`) and wipe it (`reset`). The rows
    include an empty history, an item out of the vocabulary and rows of weight 0.

    Args:
      config: of the model.
      sizes: C and B.
      length: K.
      seed: of the made-up histories.
    """
    rng = np.random.default_rng(seed)
    batch, width, unused = sizes.train_batch, config.junction_widths[0], {"unused": np.zeros(1, np.float32)}
    items = _items(config.items)
    history = rng.choice(items, (batch, config.history_length))
    seen = rng.integers(0, config.history_length + 1, batch)  # items of each history; the rest is padding
    seen[0] = 0
    history *= np.arange(config.history_length) >= config.history_length - seen[:, None]
    profile = np.array([[rng.integers(size) for size in config.profile_sizes]], np.int32)
    rows = {"history": history}
    if config.history_labels:
        rows["history_labels"] = rng.integers(0, 2, history.shape).astype(np.int32) * (history > 0)
    user = {name: values[-1:] for name, values in rows.items()} | {"profile": profile}
    candidates = rng.choice(items, (1, sizes.candidates))
    rows |= {"profile": profile, "candidates": rng.choice(items, batch)}
    vector = rng.normal(0.0, 0.5, length).astype(np.float32)

    def gate(value: float) -> Arrays:
        return {"gate": np.array([value], np.float32)}

    samples = {
        "labels": rng.integers(0, 2, batch).astype(np.float32),
        "weights": (np.arange(batch) < max(1, batch - 3)).astype(np.float32),
        "learning_rate": np.array([0.05], np.float32),
        "anchor": vector,
        "pull": np.array([0.1], np.float32),
    }
    log = rng.choice(items, (1, config.history_length + batch - 1))
    log *= np.arange(log.size) >= config.history_length // 2  # the first rows have a short history
    window = {"history": log, "profile": profile, "candidates": rows["candidates"]}
    if config.history_labels:
        window["history_labels"] = rng.integers(0, 2, log.shape).astype(np.int32) * (log > 0)
    encoded = {"hidden": np.maximum(rng.normal(size=(batch, width)), 0.0).astype(np.float32)}
    rank = [("infer", user | {"candidates": candidates} | gate(value)) for value in (1.0, 0.0)]
    evaluation = [("evaluate", rows | gate(1.0)), ("evaluate_encoded", encoded | gate(1.0))]
    state = {"vector": vector, "first_moment": 0.1 * vector, "second_moment": vector * vector}
    return [
        ("init", {"profile": profile}),
        *rank,
        *evaluation,
        ("encode", window),
        *[("train", rows | samples)] * TRAIN_STEPS,
        ("get", unused),
        *[("train_encoded", encoded | samples)] * TRAIN_STEPS,
        ("get", unused),
        *rank,
        ("rebase", {"vector": vector, "profile": profile}),
        ("get", unused),
        ("set", state | {"step": np.array([7.0], np.float32)}),
        ("train", rows | samples),
        ("train_encoded", encoded | samples),
        ("get", unused),
        *evaluation,
        ("train", rows | samples | {"weights": np.zeros(batch, np.float32)}),
        ("train_encoded", encoded | samples | {"weights": np.zeros(batch, np.float32)}),
        ("get", unused),
        ("reset", unused),
        ("get", unused),
        *rank,
    ]


def _items(count: int) -> np.ndarray:
    """Model ids int32: some neighbours at each of some places of the table of V = `count` items, and the id out of the
    vocabulary. So a replay needs few pages of the file in a phone's memory."""
    first = np.linspace(1, max(1, count - _NEIGHBOURS + 1), _PLACES).astype(np.int32)
    near = first[:, None] + np.arange(min(_NEIGHBOURS, count), dtype=np.int32)
    return np.append(np.unique(near), np.int32(count + 1))


def as_message(calls: list[tuple[str, Arrays]], outputs: list[Arrays] | None = None) -> dccl_pb2.Goldens:
    """Calls, and what they are to answer, as the file goldens.pb."""
    goldens = dccl_pb2.Goldens()
    for number, (signature, inputs) in enumerate(calls):
        call = goldens.calls.add(signature=signature, inputs=to_tensors(inputs))
        if outputs is not None:
            call.outputs.extend(to_tensors(outputs[number]))
            largest = max(float(np.abs(value).max(initial=0.0)) for value in outputs[number].values())
            call.tolerance = TOLERANCE * max(1.0, largest)
    return goldens

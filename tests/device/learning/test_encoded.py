"""The junction cache: rows encoded in windows are the rows, whatever the shape of the log."""

import numpy as np
import pytest

from device_runtime import InputError
from device_runtime.interpreter.engine import Engine
from device_runtime.learning.encoded import EncodedRows, encode, windows
from device_runtime.learning.rows import Rows

T, B, V, F = 5, 4, 20, 8


def rows(at, interactions, seed=0):
    """Rows of the interactions `at`, in a history of so many, some of them unknown."""
    rng = np.random.default_rng(seed)
    items = np.concatenate([np.zeros(T, np.int32), rng.integers(1, V + 2, interactions, np.int32)])
    labels = rng.integers(0, 2, len(items), np.int32) * (items > 0)
    at = np.array(at, np.int64)
    candidates = rng.integers(1, V + 1, len(at), np.int32)
    return Rows(items, labels.astype(np.int32), T, at, candidates, np.ones(len(at), np.float32))


LOGS = {
    "none": ([], 0),
    "one": ([0], 1),
    "each": (range(11), 11),
    "several of each": (np.repeat(range(7), 3), 7),
    "far apart": ([0, 9, 30], 31),
    "one of many rows": ([0, 1, 1, 1, 1, 1, 1, 2], 3),
}


@pytest.mark.parametrize("name", LOGS)
def test_windows_hold_each_row_once_with_its_own_history_and_candidate(name):
    some = rows(*LOGS[name])
    seen = []
    for chosen, window in windows(some, B):
        assert len(chosen) <= B
        assert (len(window.history), len(window.candidates)) == (T + B - 1, B)
        for row in chosen:
            place, at = some.at[row] % B, some.at[row]
            np.testing.assert_array_equal(window.history[place : place + T], some.items[at : at + T])
            np.testing.assert_array_equal(window.history_labels[place : place + T], some.item_labels[at : at + T])
            assert window.candidates[place] == some.candidates[row]
        seen += chosen.tolist()
    assert sorted(seen) == list(range(len(some)))


def test_rows_that_are_neighbours_share_a_call():
    assert len(list(windows(rows(*LOGS["each"]), B))) == 3  # 4 + 4 + 3 rows
    assert len(list(windows(rows(*LOGS["several of each"]), B))) == 6  # three calls for each of two blocks


@pytest.mark.parametrize("name", LOGS)
def test_encoded_rows_score_as_evaluate_scores_them_from_ids(bundle, runtime, name):
    some, profile = rows(*LOGS[name]), np.array([2], np.int32)
    engine = Engine(runtime, bundle.manifest)
    state = engine.start(profile)
    encoded = encode(engine, some, profile)
    assert encoded.hidden.shape == (len(some), F)
    for begin in range(0, len(some), B):
        chosen = np.arange(begin, min(begin + B, len(some)))
        batch = encoded.batch(np.pad(chosen, (0, B - len(chosen)), constant_values=-1))
        got = engine.evaluate(state, batch.hidden, 1.0)[: len(chosen)]
        ids = np.zeros((2, B, T), np.int32)
        ids[:, : len(chosen)] = [
            [part[at : at + T] for at in some.at[chosen]] for part in (some.items, some.item_labels)
        ]
        candidates = np.zeros(B, np.int32)
        candidates[: len(chosen)] = some.candidates[chosen]
        plain = runtime.call(
            "evaluate", history=ids[0], history_labels=ids[1], profile=profile[None], candidates=candidates, gate=[1.0]
        )["logits"]
        np.testing.assert_allclose(got, plain[: len(chosen)], atol=1e-6)


def test_a_row_that_pads_is_zero_and_has_no_weight():
    some = EncodedRows(np.ones((2, F), np.float32), np.ones(2, np.float32))
    batch = some.batch(np.array([1, -1]))
    assert batch.hidden.sum(axis=1).tolist() == [F, 0.0]
    assert (batch.labels.tolist(), batch.weights.tolist()) == ([1.0, 0.0], [1.0, 0.0])


@pytest.mark.parametrize("label", [np.nan, np.inf, 2.0, -1.0])
def test_a_label_outside_0_to_1_is_refused_before_the_interpreter_is_asked(bundle, runtime, label):
    some = rows([0, 1], 2)
    some.labels[1] = label
    with pytest.raises(InputError, match=r"labels: expected values in \[0, 1\]"):
        encode(Engine(runtime, bundle.manifest), some, np.array([2], np.int32))


def test_an_id_beyond_the_vocabulary_is_refused(bundle, runtime):
    some = rows([0, 1], 2)
    some.items[T] = V + 2
    with pytest.raises(InputError, match=r"history: expected model ids in 0..21, got 0..22"):
        encode(Engine(runtime, bundle.manifest), some, np.array([2], np.int32))

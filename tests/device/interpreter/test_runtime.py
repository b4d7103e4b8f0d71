"""The adapter over the interpreters: what goes in, what comes out, and who may call at once."""

import sys
import threading

import numpy as np
import pytest

from device_runtime import InputError, RuntimeMissingError, load_runtime
from device_runtime.interpreter import providers

K, T, C, B, V = 4, 5, 8, 4, 20
UNUSED = {"unused": np.zeros(1, np.float32)}


def vector_state(vector, step=0.0):
    return {"vector": vector, "first_moment": [0.0] * K, "second_moment": [0.0] * K, "step": [step]}


def inference(**changes):
    values = {
        "history": np.array([[0, 0, 3, 7, 11]], np.int32),
        "history_labels": np.array([[0, 0, 1, 0, 1]], np.int32),
        "profile": np.array([[1]], np.int32),
        "candidates": np.arange(1, C + 1, dtype=np.int32)[None],
        "gate": np.ones(1, np.float32),
    }
    return values | changes


def training(**changes):
    values = {
        "history": np.array([[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 0, 0], [5, 6, 7, 8, 9]], np.int32),
        "history_labels": np.zeros((B, T), np.int32),
        "profile": np.array([[1]], np.int32),
        "candidates": np.array([3, 5, 7, 21], np.int32),
        "labels": np.array([1, 0, 0, 1], np.float32),
        "weights": np.ones(B, np.float32),
        "learning_rate": np.array([0.05], np.float32),
        "anchor": np.zeros(K, np.float32),
        "pull": np.zeros(1, np.float32),
    }
    return values | changes


def test_signatures_are_described_by_name(runtime):
    infer = runtime.signatures["infer"]
    assert infer.inputs["candidates"].shape == (1, C)
    assert infer.inputs["candidates"].dtype == np.int32
    assert infer.outputs["logits"].shape == (1, C)


@pytest.mark.parametrize("length", [0, 1, K - 1, K + 1, 600, 10**6])
def test_a_vector_of_another_length_is_refused_with_both_lengths(runtime, length):
    before = runtime.call("get", **UNUSED)
    with pytest.raises(InputError, match=rf"set: vector: expected shape \[{K}\], got \[{length}\]"):
        runtime.call("set", **vector_state(np.zeros(length, np.float32)))
    np.testing.assert_array_equal(runtime.call("get", **UNUSED)["vector"], before["vector"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize(
    ("signature", "name"),
    [("set", "vector"), ("rebase", "vector"), ("train", "anchor"), ("train", "labels"), ("train", "weights")],
)
def test_a_value_that_is_not_finite_is_refused_where_it_would_enter_the_vector(runtime, signature, name, value):
    inputs = {"set": vector_state([0.0] * K), "rebase": {"vector": [0.0] * K, "profile": [[0]]}, "train": training()}
    poisoned = np.zeros(K, np.float64)
    poisoned[2] = value
    with pytest.raises(InputError, match=f"{signature}: {name}: expected finite float32 values, got .* at position 2"):
        runtime.call(signature, **inputs[signature] | {name: poisoned})
    assert np.isfinite(runtime.call("get", **UNUSED)["vector"]).all()


@pytest.mark.parametrize("name", ["learning_rate", "pull"])
def test_a_setting_that_is_not_finite_is_refused(runtime, name):
    with pytest.raises(InputError, match=f"train: {name}: expected finite"):
        runtime.call("train", **training(**{name: [np.nan]}))


@pytest.mark.parametrize("cast", [np.float64, list, tuple])
def test_a_lossless_cast_of_the_vector_is_made(runtime, cast):
    vector = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
    runtime.call("set", **vector_state(cast(vector)))
    np.testing.assert_array_equal(runtime.call("get", **UNUSED)["vector"], vector)


def test_int64_ids_float64_gates_and_lists_score_like_the_native_types(runtime):
    native = inference()
    expected = runtime.call("infer", **native)["logits"]
    wide = {name: value.astype(np.int64 if value.dtype == np.int32 else np.float64) for name, value in native.items()}
    np.testing.assert_array_equal(runtime.call("infer", **wide)["logits"], expected)
    lists = {name: value.tolist() for name, value in native.items()}
    np.testing.assert_array_equal(runtime.call("infer", **lists)["logits"], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": [[2**31] + [0] * 7]}, "candidates: expected values that fit int32, got 2147483648"),
        ({"candidates": [[1.5] * C]}, "candidates: expected int32, got float64"),
        ({"candidates": [["1"] * C]}, "candidates: expected int32, got <U1"),
        ({"candidates": [[True] * C]}, "candidates: expected int32, got bool"),
        ({"candidates": [1] * C}, r"candidates: expected shape \[1, 8\], got \[8\]"),
        ({"candidates": [[1], [1, 2]]}, r"candidates: expected shape \[1, 8\], got rows of different lengths"),
        ({"gate": 1.0}, r"gate: expected shape \[1\], got \[\]"),
    ],
)
def test_a_wrong_input_is_refused_by_name(runtime, changes, message):
    with pytest.raises(InputError, match=message):
        runtime.call("infer", **inference(**changes))


def test_a_misspelt_input_and_signature_get_a_suggestion(runtime):
    inputs = inference()
    inputs["histroy"] = inputs.pop("history")
    with pytest.raises(InputError, match="unknown input 'histroy'; did you mean 'history'"):
        runtime.call("infer", **inputs)
    with pytest.raises(InputError, match="unknown signature 'inferr'; did you mean 'infer'"):
        runtime.call("inferr")


def test_a_missing_input_is_named(runtime):
    with pytest.raises(InputError, match=r"set: expected the inputs .* got none for step"):
        runtime.call("set", vector=[0.0] * K, first_moment=[0.0] * K, second_moment=[0.0] * K)


def test_training_changes_the_vector_and_the_scores_and_leaves_kept_outputs_alone(runtime):
    runtime.call("init", profile=[[1]])
    vector, logits = runtime.call("get", **UNUSED)["vector"], runtime.call("infer", **inference())["logits"]
    kept_vector, kept_logits = vector.copy(), logits.copy()
    runtime.call("train", **training())
    assert (runtime.call("get", **UNUSED)["vector"] != kept_vector).all()
    assert (runtime.call("infer", **inference())["logits"] != kept_logits).any()
    np.testing.assert_array_equal(vector, kept_vector)
    np.testing.assert_array_equal(logits, kept_logits)


def test_with_and_without_the_delegate_scores_agree(bundle, runtime):
    plain = load_runtime(bundle.model_bytes, delegate=False)
    for one in (runtime, plain):
        one.call("init", profile=[[2]])
    np.testing.assert_allclose(
        plain.call("infer", **inference())["logits"], runtime.call("infer", **inference())["logits"], atol=1e-6
    )


def test_threads_that_hold_the_runtime_never_see_each_others_vector(runtime):
    expected = {}
    for value in (-1.0, 1.0):
        runtime.call("set", **vector_state([value] * K))
        expected[value] = runtime.call("infer", **inference())["logits"]
    wrong = []

    def work(value):
        for _ in range(1250):
            with runtime.exclusive():
                runtime.call("set", **vector_state([value] * K))
                logits = runtime.call("infer", **inference())["logits"]
            if (logits != expected[value]).any():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (expected[-1.0] != expected[1.0]).any()
    assert wrong == []


def test_numpy_2_beside_tflite_runtime_is_said_with_both_ways_out(bundle, monkeypatch):
    monkeypatch.setattr(providers.np, "__version__", "2.1.0")
    monkeypatch.setattr(providers, "is_installed", lambda name: name == "tflite-runtime")
    monkeypatch.setattr(providers, "_version", lambda name: "2.14.0")
    monkeypatch.setattr(providers, "_load", lambda name: pytest.fail("the interpreter was touched"))
    with pytest.raises(RuntimeMissingError, match=r"tflite-runtime 2.14.0 needs NumPy 1, got NumPy 2.1.0") as error:
        load_runtime(bundle.model_bytes)
    assert "pip install 'numpy<2'" in str(error.value)
    assert "pip install ai-edge-litert" in str(error.value)


def test_tflite_runtime_after_tensorflow_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(providers, "is_installed", lambda name: name == "tflite-runtime")
    monkeypatch.setattr(providers, "_numpy_misfit", lambda name: None)
    monkeypatch.setitem(sys.modules, "tensorflow", providers)
    monkeypatch.delitem(sys.modules, "tflite_runtime.interpreter", raising=False)
    for choice in ("auto", "tflite-runtime"):
        with pytest.raises(RuntimeMissingError, match="imported TensorFlow before it"):
            providers.find_provider(choice)


def test_numpy_2_makes_auto_pass_over_tflite_runtime(monkeypatch):
    monkeypatch.setattr(providers.np, "__version__", "2.1.0")
    monkeypatch.setattr(providers, "is_installed", lambda name: name != "tensorflow")
    monkeypatch.setattr(providers, "_version", lambda name: "2.14.0")
    monkeypatch.setattr(providers, "_load", lambda name: name)
    assert providers.find_provider() == "ai-edge-litert"


def test_no_interpreter_at_all_is_said_with_the_way_out(monkeypatch):
    monkeypatch.setattr(providers, "is_installed", lambda name: False)
    with pytest.raises(RuntimeMissingError, match=r"tflite-runtime is not installed.*pip install ai-edge-litert"):
        providers.find_provider()


def test_an_unknown_runtime_is_refused():
    with pytest.raises(RuntimeMissingError, match=r"runtime: expected auto, tflite-runtime, .* got 'tflite'"):
        providers.find_provider("tflite")

"""SASRec against a reference in NumPy loops, and what a position may know."""

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.models import SasRec
from dccl_tf.models.sasrec import windows
from tests.models import contract, small

CHOICES = {"width": 6, "heads": 2, "history_length": small.T, "local": 3, "inner": 7}


def norm(layer, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + layer.epsilon) * layer.gamma.numpy() + layer.beta.numpy()


def attend(block, known: np.ndarray) -> np.ndarray:
    """Every place of [N, D], oldest first, asks itself and the items before it in the block's window."""
    out = []
    part = block.width // block.heads
    keys, values = np.split(contract.dense(block.key_value, known), 2, axis=-1)
    for place, query in enumerate(contract.dense(block.query, known)):
        seen = range(max(0, place - block.window + 1), place + 1)
        heads = []
        for head in range(block.heads):
            own = slice(head * part, (head + 1) * part)
            scores = [query[own] @ keys[j, own] / np.sqrt(part) + block.recency.numpy()[place - j, head] for j in seen]
            weights = np.exp(scores) / np.exp(scores).sum()
            heads.append(sum(w * values[j, own] for w, j in zip(weights, seen, strict=True)))
        out.append(contract.dense(block.mix, np.concatenate(heads)))
    return np.array(out)


def feed(block, x: np.ndarray) -> np.ndarray:
    return contract.dense(block.narrow, np.maximum(contract.dense(block.widen, x), 0))


def state(model, history: list[int], labels: list[int]) -> np.ndarray:
    """Of a history, oldest first, without padding; of none it is what one place of zeros gives."""
    rows = [sum(contract.item_rows(model.item_fields, item)) for item in history] or [np.zeros(model.width)]
    x = np.array(rows) * np.sqrt(model.width)
    if model.history_labels and history:
        x = x + model.label_values.numpy()[labels] * np.sqrt(model.width)
    x = x if model.norm_first else norm(model.norm, x)
    for block in model.blocks:
        if model.norm_first:
            x = x + attend(block, norm(block.attention_norm, x))
            x = x + feed(block, norm(block.feed_norm, x))
        else:
            x = norm(block.attention_norm, x + attend(block, x))
            x = norm(block.feed_norm, x + feed(block, x))
    return (norm(model.norm, x) if model.norm_first else x)[-1]


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_packed_logits_equal_the_reference_one_window_at_a_time(norm_first, labels, blocks):
    choices = {"history_labels": labels, "norm_first": norm_first, "blocks": blocks, "item_categories": labels}
    model, batch = contract.build(SasRec, **CHOICES, **choices), contract.packed(labels=labels)
    logits = model(batch).numpy()
    for (row, position, candidate), _, _, item in contract.each(batch):
        window = batch["history"][row, position : position + small.T].numpy()
        marks = batch["history_labels"][row, position : position + small.T].numpy()[window > 0] if labels else []
        vector = sum(contract.item_rows(model.item_fields, item))
        bias = contract.item_rows(model.item_bias, item)[0][0]
        expected = state(model, list(window[window > 0]), list(marks)) @ vector + bias
        np.testing.assert_allclose(logits[row, position, candidate], expected, atol=2e-5)


@pytest.mark.parametrize(
    ("history_length", "blocks", "local", "expected"),
    [(50, 2, 12, [12, 39]), (50, 1, 12, [50]), (6, 3, 3, [2, 2, 4]), (1, 2, 12, [1, 1]), (50, 2, 100, [25, 26])],
)
def test_windows_reach_back_over_the_history(history_length, blocks, local, expected):
    """A place of block k sees w - 1 places before it, so the last block's sees sum of (w - 1) = T - 1 in all."""
    assert windows(history_length, blocks, local) == expected
    assert sum(window - 1 for window in expected) == history_length - 1


def test_oldest_item_of_the_window_is_seen_and_the_one_before_is_not():
    model, batch = contract.build(SasRec, **CHOICES), contract.packed(seed=3)
    same = model(batch).numpy()
    for place in range(3):
        history = batch["history"].numpy()
        history[1:, place] = 1 + history[1:, place] % small.V
        changed = np.abs(model({**batch, "history": tf.constant(history)}).numpy() - same).max(axis=(0, 2))
        assert (changed[: place + 1] > 1e-6).all()
        assert (changed[place + 1 :] == 0).all()


def test_a_later_item_changes_no_earlier_position():
    model, batch = contract.build(SasRec, **CHOICES), contract.packed()
    history = batch["history"].numpy()
    history[:, -1] = 1 + history[:, -1] % small.V
    changed, same = model({**batch, "history": tf.constant(history)}), model(batch)
    np.testing.assert_array_equal(changed[:, :3], same[:, :3])
    assert (np.abs(changed[:, 3] - same[:, 3]) > 0).all()


def test_missing_labels_and_a_wrong_length_are_named():
    batch = contract.packed()
    with pytest.raises(ValueError, match="history_labels"):
        contract.build(SasRec, **CHOICES, history_labels=True)(batch)
    with pytest.raises(ValueError, match="history: expected 9 items"):
        contract.build(SasRec, **CHOICES)({**batch, "history": batch["history"][:, 1:]})

"""DIN: against a reference in NumPy, and the identities of the contract (hostile rows M1, M2, D17)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.models import DinConfig
from tests.models import reference, small


@pytest.mark.parametrize("kind", ["dot", "activation_unit"])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("hidden", [(10, 8, 6), (10, 8, 7, 6), (10, 8)])
def test_packed_logits_equal_the_reference_one_sample_at_a_time(kind, labels, hidden):
    cloud = small.cloud(attention=kind, history_labels=labels, hidden=hidden)
    if kind == "dot":
        cloud.din.attention.recency.assign(np.random.default_rng(0).normal(size=(small.T, 2)))
    batch = small.packed(labels=labels)
    theta = np.random.default_rng(1).normal(size=(3, small.K)).astype(np.float32)
    gate = np.array([1.0, 0.5, 0.0], np.float32)
    logits = cloud(batch, theta=tf.constant(theta), gate=tf.constant(gate))
    for row, position, candidate in np.ndindex(3, 4, 2):
        window = batch["history"][row, position : position + small.T].numpy()
        marks = batch["history_labels"][row, position : position + small.T].numpy()[window > 0] if labels else None
        expected = reference.logit(
            cloud,
            list(window[window > 0]),
            marks,
            batch["profile"][row].numpy(),
            int(batch["candidates"][row, position, candidate]),
            theta[row],
            gate[row],
        )
        assert float(logits[row, position, candidate]) == pytest.approx(expected, abs=2e-5)


def test_point_form_equals_the_packed_form():
    cloud, batch = small.cloud(), small.packed()
    packed = cloud(batch)
    for position in range(4):
        np.testing.assert_allclose(cloud(small.at(batch, position)), packed[:, position], atol=1e-6)


def test_padding_row_of_the_table_changes_no_score():  # M1
    cloud, batch = small.cloud(), small.packed()
    before = cloud(batch)
    table = cloud.din.items.ids.numpy()
    table[0] = 1e3
    cloud.din.items.ids.assign(table)
    np.testing.assert_array_equal(cloud(batch), before)


@pytest.mark.parametrize("labels", [False, True])
def test_a_later_item_changes_no_earlier_position(labels):  # M2
    cloud, batch = small.cloud(history_labels=labels), small.packed(labels=labels)
    history = batch["history"].numpy()
    history[:, -1] = 1 + history[:, -1] % small.V
    changed = cloud({**batch, "history": tf.constant(history)})
    same = cloud(batch)
    np.testing.assert_array_equal(changed[:, :3], same[:, :3])
    assert (np.abs(changed[:, 3] - same[:, 3]) > 0).all()


def test_empty_history_is_a_zero_interest():  # D17
    cloud, batch = small.cloud(), small.at(small.packed(), 0)
    empty = {**batch, "history": tf.zeros_like(batch["history"])}
    din = cloud.din
    candidates = din.items(empty["candidates"])[:, None]
    taste = din.attention(din.items(empty["history"]), candidates, empty["history"] > 0)
    np.testing.assert_array_equal(taste, np.zeros_like(taste))
    assert np.isfinite(cloud(empty)).all()


def test_padding_on_the_left_is_neutral():
    """Three items in a window of 6 score as the reference's three items do, wherever the padding came from."""
    cloud = small.cloud()
    point = {"history": [[0, 0, 0, 5, 6, 7]], "candidates": [[8]], "profile": [[1, 2]]}
    logits = cloud({name: tf.constant(value) for name, value in point.items()})
    assert float(logits[0, 0]) == pytest.approx(reference.logit(cloud, [5, 6, 7], None, [1, 2], 8), abs=1e-5)


def test_candidates_do_not_see_each_other():
    cloud, batch = small.cloud(), small.at(small.packed(), 2)
    swapped = cloud({**batch, "candidates": batch["candidates"][:, ::-1]})
    np.testing.assert_allclose(swapped, cloud(batch)[:, ::-1], atol=1e-6)


def test_item_table_is_what_the_layer_computes():
    items = small.cloud().din.items
    ids = tf.constant([0, 3, 4, small.V, small.V + 1])
    np.testing.assert_array_equal(tf.gather(items.table(), ids), items(ids))
    np.testing.assert_array_equal(items.table()[0], np.zeros(items.width))


def test_saved_model_scores_the_same(tmp_path):  # M9; a new process is tried in tests/training
    cloud, batch = small.cloud(), small.packed()
    cloud.save(tmp_path / "cloud.keras")
    again = keras.saving.load_model(tmp_path / "cloud.keras")
    theta = tf.ones([3, small.K])
    np.testing.assert_allclose(again(batch, theta=theta), cloud(batch, theta=theta), atol=1e-6)


def test_din_alone_is_saved_and_loaded(tmp_path):
    cloud, batch = small.cloud(), small.packed()
    cloud.din.save(tmp_path / "din.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "din.keras")(batch), cloud(batch), atol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
def wave(x):
    return tf.sin(x)


def test_an_activation_that_keras_can_save_comes_back(tmp_path):
    cloud, batch = small.cloud(activation=wave), small.packed()
    cloud.save(tmp_path / "cloud.keras")
    for again in (cloud.copy(), keras.saving.load_model(tmp_path / "cloud.keras")):
        assert again.din.config == cloud.din.config
        np.testing.assert_array_equal(again(batch), cloud(batch))


def test_missing_labels_are_named():
    with pytest.raises(ValueError, match="history_labels"):
        small.cloud(history_labels=True)(small.packed())


def test_history_of_a_wrong_length_is_named():
    batch = small.packed()
    with pytest.raises(ValueError, match="history: expected 9 items"):
        small.cloud()({**batch, "history": batch["history"][:, 1:]})


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"items": 0}, "items"),
        ({"history_length": 0}, "history_length"),
        ({"hidden": (4,)}, "hidden"),
        ({"hidden": (4, 0)}, "hidden"),
        ({"item_width": 0}, "item_width"),
        ({"item_width": 33}, "item_width.* 2 heads divide, got 33"),
        ({"item_width": 32, "categories": 3, "category_width": 5}, r"item_width.* got 37 \(32 and 5 for categories\)"),
        ({"profile_sizes": ()}, "profile_sizes"),
        ({"dropout": 1.0}, "dropout"),
        ({"activation": "rleu"}, "activation"),
        ({"activation": lambda x: x}, "activation: .*register_keras_serializable"),
        ({"activation": tf.nn.gelu}, "activation: .*register_keras_serializable"),  # Keras gives back its own
    ],
)
def test_bad_configuration_is_named(choice, message):
    with pytest.raises(ValueError, match=message):
        DinConfig(**{"items": 3, "profile_sizes": (1,)} | choice)

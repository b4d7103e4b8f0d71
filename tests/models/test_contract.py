"""What every baseline promises: both forms of input, odd ids, saving, and no noise where nothing was learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.models import DeepFm, Fm, Mf, NeuMf, SasRec
from dccl_tf.models.recommender import DataSizes
from tests.models import contract, small

KINDS = {
    "mf": (Mf, {"width": 6}),
    "fm": (Fm, {"width": 6}),
    "neumf": (NeuMf, {"width": 6, "hidden": (8, 5)}),
    "deepfm": (DeepFm, {"width": 6, "hidden": (8, 5)}),
    "sasrec": (SasRec, {"width": 6, "history_length": small.T, "local": 3, "inner": 7}),
    "sasrec_labels": (SasRec, {"width": 6, "history_length": small.T, "local": 3, "history_labels": True}),
}
BY_USER = ["mf", "fm", "neumf", "deepfm"]


@pytest.fixture(params=KINDS)
def name(request):
    return request.param


def build(name: str):
    kind, choices = KINDS[name]
    return contract.build(kind, **choices)


def batch_for(name: str) -> dict:
    return contract.packed(labels=name == "sasrec_labels")


def test_point_form_equals_the_packed_form(name):
    model, batch = build(name), batch_for(name)
    packed = model(batch)
    assert packed.shape == (3, 4, 2)
    for position in range(4):
        np.testing.assert_allclose(model(contract.at(batch, position)), packed[:, position], atol=1e-5)


def test_many_candidates_score_as_few_do(name):
    """More ids than items are looked up in another way."""
    model, batch = build(name), contract.at(batch_for(name), 1)
    everything = tf.repeat(tf.range(small.V + 2)[None], 3, axis=0)
    logits = model({**batch, "candidates": everything})
    for item in range(0, small.V + 2, 4):
        np.testing.assert_allclose(
            model({**batch, "candidates": everything[:, item : item + 1]})[:, 0], logits[:, item], atol=1e-5
        )


def test_candidates_do_not_see_each_other(name):
    model, batch = build(name), contract.at(batch_for(name), 2)
    swapped = model({**batch, "candidates": batch["candidates"][:, ::-1]})
    np.testing.assert_allclose(swapped, model(batch)[:, ::-1], atol=1e-6)


def test_padding_rows_of_the_tables_change_no_score(name):
    model, batch = build(name), batch_for(name)
    before = model(batch)
    for variable in model.trainable_variables:
        if variable.path.startswith("item") and variable.name in ("ids", "categories"):
            variable.assign(tf.tensor_scatter_nd_update(variable, [[0]], tf.fill([1, variable.shape[1]], 1e3)))
    np.testing.assert_array_equal(model(batch), before)


def test_an_empty_history_and_strange_items_score_finitely(name):
    model, batch = build(name), contract.at(batch_for(name), 0)
    history = tf.concat([tf.zeros([2, small.T], tf.int32), tf.fill([1, small.T], small.V + 1)], axis=0)
    strange = {**batch, "history": history, "candidates": tf.constant([[small.V + 1, 0, 1]] * 3)}
    assert np.isfinite(model(strange)).all()


def test_saved_model_scores_the_same(name, tmp_path):
    model, batch = build(name), batch_for(name)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(batch), model(batch), atol=1e-6)


def test_dropout_is_on_in_training_alone(name):
    kind, choices = KINDS[name]
    model, batch = contract.build(kind, **choices, dropout=0.5), batch_for(name)
    np.testing.assert_array_equal(model(batch), model(batch))
    assert np.abs(model(batch, training=True) - model(batch)).max() > 1e-3


@pytest.mark.parametrize("name", BY_USER)
def test_new_users_score_as_the_unknown_user_until_they_have_samples(name):
    kind, choices = KINDS[name]
    model = kind.for_data(small.catalogue(), small.users(contract.U), **choices)
    batch = contract.at(contract.packed(), 0) | {"profile": tf.constant([[1, 2]] * 3)}
    batch["candidates"] = tf.repeat(batch["candidates"][:1], 3, axis=0)
    logits = model({**batch, "users": tf.constant([0, 3, contract.U])}).numpy()
    np.testing.assert_array_equal(logits, logits[[2, 2, 2]])


@pytest.mark.parametrize("name", BY_USER)
def test_users_without_samples_keep_the_prior_while_others_learn(name):
    kind, choices = KINDS[name]
    model = kind.for_data(small.catalogue(), small.users(contract.U), **choices)
    batch = contract.packed()  # users 4, 2 and 0
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(batch, training=True) - 1.0))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
    moved = np.abs(model.user_fields.ids.numpy()).max(axis=1) > 0
    assert moved.tolist() == [True, False, True, False, True, False]


@pytest.mark.parametrize("name", BY_USER)
def test_history_is_not_read(name):
    model, batch = build(name), contract.packed()
    without = {key: value for key, value in batch.items() if key != "history"}
    np.testing.assert_array_equal(model(without), model(batch))


@pytest.mark.parametrize(
    ("kind", "choice", "message"),
    [
        (Mf, {"width": 0}, "width: expected at least 1, got 0"),
        (Fm, {"dropout": 1.0}, "dropout"),
        (NeuMf, {"hidden": ()}, "hidden"),
        (DeepFm, {"hidden": (4, 0)}, "hidden"),
        (SasRec, {"width": 6, "heads": 4}, "heads: expected a divisor of width 6, got 4"),
        (SasRec, {"history_length": 0}, "history_length"),
    ],
)
def test_bad_choices_are_named(kind, choice, message):
    with pytest.raises(ValueError, match=message):
        kind(DataSizes(users=2, items=3, profile_sizes=(2,)), **choice)

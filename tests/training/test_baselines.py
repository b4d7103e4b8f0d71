"""The baselines' one path: made by name, trained on the same samples, judged by the same evaluators."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from dccl_tf import baselines
from dccl_tf.data.schema import Span
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.models import DeepFm, Din, Mf, SasRec
from dccl_tf.run_config import DcclConfig, joined, split_log

QUICK = {"epochs": 2, "history_length": 8}


@pytest.fixture(scope="module")
def log():
    return synthetic_log(0, users=40, items=150, shortest=16, mean_length=25, longest=40)[0]


def split_of(log, protocol: str):
    return split_log(log, DcclConfig(protocol=protocol))


@pytest.mark.parametrize("protocol", ["next", "liked"])
@pytest.mark.parametrize("name", baselines.MODELS)
def test_every_model_learns_and_is_judged(log, name, protocol):
    recipe = baselines.recipe_for(name, protocol, **QUICK, averaging=0, learning_rate=0.01)
    split = split_of(log, protocol)
    baseline, history = baselines.learn(recipe, log, split, seed=0)
    assert history.loss[1] < history.loss[0]
    values = baselines.evaluators(recipe, log, split, seed=0)[1](baseline)
    assert all(len(value) == 40 and np.isfinite(value).any() for value in values.values())


def test_what_a_user_liked_lifts_the_logit_of_similar_items(log):
    """A model that has learned the log ranks above chance, which is NDCG@10 of 0.045 among 101 items."""
    recipe = baselines.recipe_for("mf", "next", width=8, epochs=15, learning_rate=0.03, batch_positions=256)
    split = split_of(log, "next")
    baseline, _ = baselines.learn(recipe, log, split, seed=0)
    values = baselines.evaluators(recipe, log, split, seed=0)[1](baseline)
    assert np.nanmean(values["ndcg@10/neg100"]) > 0.09


def test_din_with_user_ids_tells_users_apart_who_differ_in_nothing_else(log):
    """40 users and "unknown" make a field of 41; the logits of two users with the same history differ by it alone."""
    recipe = baselines.recipe_for("din", "liked", **QUICK, user_ids=True)
    baseline, _ = baselines.learn(recipe, log, split_of(log, "liked"), seed=0)
    assert baseline.model.config.profile_sizes == (*(field.size for field in log.users.fields), 41)
    nobody = np.zeros((2, 8), np.int32)
    inputs = {"history": nobody, "history_labels": nobody, "candidates": np.ones((2, 1), np.int32)}
    profile = np.zeros((2, len(log.users.fields) + 1), np.int32)
    profile[1, -1] = 7
    one, other = baseline.model(inputs | {"profile": profile}).numpy()
    assert one != other
    with pytest.raises(ValueError, match="user_ids: expected False for mf"):
        baselines.recipe_for("mf", user_ids=True)


def test_same_seed_gives_the_same_model(log):
    recipe = baselines.recipe_for("neumf", **QUICK)
    split = split_of(log, "next")
    one, other = (baselines.learn(recipe, log, split, seed=3)[0] for _ in range(2))
    for ours, theirs in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_packed_and_single_samples_are_the_same(log):
    """Users, items and targets do not depend on how positions are packed into rows."""
    span = joined(split_of(log, "next"), "all")

    def samples(**changes):
        data = baselines.training_data(baselines.recipe_for("din", **changes), log, span, seed=5)
        found = []
        for batch in data(epoch=1).as_numpy_iterator():
            for row, place in zip(*np.nonzero(batch["weights"]), strict=True):
                found.append((batch["users"][row], *batch["candidates"][row, place], *batch["targets"][row, place]))
        return sorted(found)

    assert samples(positions=1) == samples(positions=16)
    assert len(samples()) == len(span)


def test_a_batch_has_as_many_positions_however_they_are_packed(log):
    span = joined(split_of(log, "next"), "all")
    for model, positions in (("mf", None), ("mf", 8), ("sasrec", None), ("sasrec", 64), ("din", None)):
        recipe = baselines.recipe_for(model, positions=positions, batch_positions=128)
        data = baselines.training_data(recipe, log, span, seed=0)
        assert data.positions * data.batch_rows == 128
        assert positions in (None, data.positions)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, 1),  # 50 + 2 at S = 1, more at any other
        (8, 8),  # 8 rows of 52 at 1, 4 of 55 at 2, 2 of 61 at 4, 1 of 73 at 8, 1 of 97 at 16
        (200, 64),  # 7 rows of 145 at 32 = 1,015; 4 rows of 241 at 64 = 964
    ],
)
def test_positions_of_sasrec_cost_least(length, expected):
    span = Span(np.array([0]), np.array([length]))
    assert baselines.cheapest_positions(baselines.recipe_for("sasrec"), span) == expected


def test_changes_go_where_they_belong():
    recipe = baselines.recipe_for("deepfm", "liked", width=8, hidden=(4,), epochs=3, negatives=2)
    own = {"width": 8, "hidden": (4,), "dropout": 0.5}  # the last one is the model's default
    assert (recipe.choices, recipe.training.epochs, recipe.negatives) == (own, 3, 2)
    again = baselines.changed(recipe, width=16, epochs=5)
    assert again == replace(recipe, choices=own | {"width": 16}, training=replace(recipe.training, epochs=5))


def test_sizes_are_those_of_the_log(log):
    deepfm = baselines.build("deepfm", log).model
    assert isinstance(deepfm, DeepFm)
    assert (deepfm.sizes.users, deepfm.sizes.items) == (40, 150)
    np.testing.assert_array_equal(deepfm.item_fields.of_item, log.catalogue.categories)
    assert isinstance(baselines.build("mf", log).model, Mf)


def test_labels_of_the_history_are_read_under_liked_alone(log):
    sasrec = baselines.build("sasrec", log, "liked").model
    assert isinstance(sasrec, SasRec)
    assert sasrec.history_labels
    assert not baselines.build("sasrec", log, "next").model.history_labels


def test_width_is_one_word_for_all(log):
    din = baselines.build("din", log, width=24).model
    assert isinstance(din, Din)
    assert din.config.item_width == 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("deepmf",), "expected one of mf, fm, .*, got 'deepmf'; did you mean 'deepfm'"),
        (("mf", "clicked"), "protocol: expected one of next, liked, got 'clicked'"),
    ],
)
def test_unknown_names_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        baselines.recipe_for(*arguments)


def test_a_choice_that_a_model_lacks_is_named(log):
    with pytest.raises(ValueError, match="choices of mf: expected one of width, dropout, got 'heads'"):
        baselines.build("mf", log, heads=2)
    with pytest.raises(ValueError, match=r"choices of din: .*got 'hiden'; did you mean 'hidden'"):
        baselines.build("din", log, hiden=(8, 8))


def test_saved_baseline_is_a_keras_file(log, tmp_path):
    baseline = baselines.build("sasrec", log)
    baseline.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(again.get_weights(), baseline.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)

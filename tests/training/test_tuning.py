"""The random search: equal draws, resuming after a kill, and the choice of the best."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dccl_tf import baselines, evaluate, tuning
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.run_config import DcclConfig, split_log


@pytest.fixture(scope="module")
def log():
    return synthetic_log(0, users=20, items=150, shortest=10, mean_length=12, longest=16)[0]


@pytest.fixture
def learned(monkeypatch):
    """Instead of training: a validation that is the drawn width (64.5 for the defaults). Gives all recipes."""
    seen = []

    def learn(recipe, log, split, seed, valid, name):
        seen.append(recipe)
        if recipe.choices.get("width") == 16:
            raise FloatingPointError("diverged")
        return None, SimpleNamespace(validation=[0.0, recipe.choices.get("width", 64.5)], best_epoch=1)

    monkeypatch.setattr(tuning, "learn", learn)
    monkeypatch.setattr("keras.utils.clear_session", lambda: None)  # slow, and there is nothing to clear
    return seen


def search(log, path, trials, model="mf", **changes):
    split = split_log(log, DcclConfig())
    return tuning.search(model, log, split, "next", trials, seed=0, path=path, **changes)


def test_every_model_draws_the_same_settings(log, learned, tmp_path):
    mf, fm = (search(log, tmp_path / model, 6, model) for model in ("mf", "fm"))
    assert [trial.settings for trial in mf] == [trial.settings for trial in fm]
    assert mf[0].settings == {}
    assert all(set(trial.settings) == set(tuning.SPACE) for trial in mf[1:])
    assert all(value in tuning.SPACE[name] for trial in mf for name, value in trial.settings.items())


def test_trials_of_another_split_are_not_taken(log, learned, tmp_path):
    search(log, tmp_path / "file", 2)
    split = split_log(log, DcclConfig(split="time"))
    with pytest.raises(ValueError, match="holds the trials of a search with another split"):
        tuning.search("mf", log, split, "next", 2, seed=0, path=tmp_path / "file")


def test_a_killed_search_goes_on_where_it_stopped(log, learned, tmp_path):
    whole = search(log, tmp_path / "whole", 5)
    path = tmp_path / "killed"
    search(log, path, 2)
    with path.open("a") as file:
        file.write('{"number": 2, "settings": {"wid')  # killed while it wrote
    learned.clear()
    again = search(log, path, 5)
    assert len(learned) == 3
    assert [(t.number, t.settings, t.validation) for t in again] == [
        (t.number, t.settings, t.validation) for t in whole
    ]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 6  # what it is, and five trials


def test_another_search_does_not_go_on(log, learned, tmp_path):
    search(log, tmp_path / "file", 1)
    with pytest.raises(ValueError, match="trials of a search with another recipe"):
        search(log, tmp_path / "file", 2, model="fm")


def trial(number, validation, **settings):
    return tuning.Trial(number, settings, validation, 0, 1.0)


def test_best_is_the_earliest_of_the_highest_that_did_not_diverge():
    trials = [trial(0, 0.2), trial(1, 0.4, width=32), trial(2, None, width=16), trial(3, 0.4, width=128)]
    assert tuning.best(trials).number == 1
    with pytest.raises(ValueError, match="expected one that did not diverge"):
        tuning.best(trials[2:3])


def test_later_trials_are_near_the_best_of_the_first_twelve(log, learned, tmp_path):
    trials = search(log, tmp_path / "file", 30)
    best = tuning.best(trials[:12])
    assert best.settings["width"] == 128  # the end of its axis: its one neighbour is 64
    for name, values in tuning.SPACE.items():
        place = values.index(best.settings[name])
        assert {t.settings[name] for t in trials[12:]} == set(values[max(place - 1, 0) : place + 2])
    assert search(log, tmp_path / "file", 31)[:30] == trials


def test_defaults_have_neighbours_too():
    recipe = baselines.recipe_for("mf", "next")  # rate 0.006, decay 0.05, width 64, no dropout
    best = {name: baselines.setting_of(recipe, name) for name in tuning.SPACE}
    assert best == {"learning_rate": 6e-3, "weight_decay": 0.05, "width": 64, "dropout": 0.0}
    drawn = [tuning.draw_near(best, number, 0) for number in range(12, 60)]
    assert {d["learning_rate"] for d in drawn} == {3e-3, 5e-3, 1e-2}  # 0.005 is the nearest on the axis
    assert {d["weight_decay"] for d in drawn} == {1e-2, 3e-2, 1e-1}
    assert {d["width"] for d in drawn} == {32, 64, 128}
    assert {d["dropout"] for d in drawn} == {0.0, 0.1}
    assert baselines.setting_of(baselines.recipe_for("din", "next"), "width") == 128
    assert baselines.setting_of(baselines.recipe_for("din", "next"), "dropout") == 0.2  # DIN's own default


def test_divergence_is_a_trial_too(log, learned, tmp_path):
    trials = search(log, tmp_path / "file", 12)
    assert {t.validation for t in trials if t.settings.get("width") == 16} == {None}


def test_real_training_is_judged_by_validation(log, tmp_path):
    (found,) = search(log, tmp_path / "file", 1, epochs=2)
    assert 0.0 <= found.validation <= 1.0
    assert found.epoch in (0, 1)


def test_a_trial_of_dccl_changes_what_it_draws_and_nothing_else():
    config = DcclConfig(devices=0, item_width=8, protocol="next", negatives=4)
    assert tuning.configured(config, {}) is config
    settings = {"learning_rate": 5e-3, "weight_decay": 1.0, "dropout": 0.3, "shared": 1.0, "pull": 80.0}
    chosen = tuning.configured(config, settings)
    assert (chosen.pretraining.learning_rate, chosen.pretraining.weight_decay) == (5e-3, 1.0)
    assert chosen.closing.learning_rate == pytest.approx(5e-3 / 3)  # a third of joint learning's
    assert (chosen.dropout, chosen.shared, chosen.offset_pull) == (0.3, 1.0, 80.0)
    assert chosen.fleet.pull == 5 * 80.0  # a click is told from five rows, as by default
    assert (chosen.item_width, chosen.pretraining.epochs, chosen.beta) == (8, config.pretraining.epochs, config.beta)


def test_dccl_is_judged_with_the_vectors_that_devices_find(log, tmp_path, monkeypatch):
    config = DcclConfig(devices=0, item_width=8, hidden=(8, 4, 4), metapatch_length=4, bottlenecks=(2, 2, 2))
    config = replace(config, pretraining=replace(config.pretraining, epochs=1), fleet=replace(config.fleet, epochs=1))
    judged = []

    def validation(judge, cloud, vectors=None):
        judged.append(vectors)
        return evaluate.validation(judge, cloud, vectors)

    monkeypatch.setattr(tuning, "validation", validation)
    first, second = tuning.search_dccl(log, config, 2, tmp_path / "file")
    assert first.settings == {}
    assert second.settings == tuning.draw(1, 0, tuning.DCCL_SPACE)
    assert [one.theta.shape for one in judged] == [(20, 4), (20, 4)]
    assert np.abs(judged[0].theta - judged[1].theta).max() > 0  # other settings, other vectors
    assert all(0.0 <= trial.validation <= 1.0 and trial.epoch == 0 for trial in (first, second))
    assert tuning.search_dccl(log, config, 2, tmp_path / "file") == [first, second]  # nothing is tried again


def test_progressive_learning_has_no_search(log, tmp_path):
    with pytest.raises(ValueError, match="learning: expected 'joint', which the search is for, got 'progressive'"):
        tuning.search_dccl(log, DcclConfig(learning="progressive"), 1, tmp_path / "file")

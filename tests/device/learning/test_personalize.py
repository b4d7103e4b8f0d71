"""Training the vector: the protocol's steps, and what happens when something goes wrong."""

import math
from dataclasses import replace

import numpy as np
import pytest

from device_runtime import Device, InputError, PersonalizeConfig, training_schedule
from device_runtime.learning.weighing import decide_gate, log_loss
from device_runtime.state.device_state import Evidence

K, T, B = 4, 5, 4
UNUSED = {"unused": np.zeros(1, np.float32)}


def fill(device, count=23, seed=0):
    """Logs `count` interactions of a user who likes items of odd ids."""
    items = np.random.default_rng(seed).integers(101, 121, count)
    device.log_many(items, items % 2)
    return items


def by_hand(runtime, items, train, heldout, epochs, learning_rate, pull):
    """docs/protocol.md, Personalisation, with nothing but `train` and `evaluate`, which know no encoded rows: vector
    after each epoch, held-out losses."""
    ids, liked = items - 100, items % 2
    profile = np.array([[2]], np.int32)

    def batch(chosen):
        rows = {
            "history": np.zeros((B, T), np.int32),
            "history_labels": np.zeros((B, T), np.int32),
            "candidates": np.zeros(B, np.int32),
            "profile": profile,
        }
        labels, weights = np.zeros(B, np.float32), np.zeros(B, np.float32)
        for place, row in enumerate(chosen):
            past = min(row, T)
            rows["history"][place, T - past :] = ids[row - past : row]
            rows["history_labels"][place, T - past :] = liked[row - past : row]
            rows["candidates"][place], labels[place], weights[place] = ids[row], liked[row], 1.0
        return rows, labels, weights

    def loss(gate):
        total = 0.0
        for begin in range(0, len(heldout), B):
            rows, labels, weights = batch(heldout[begin : begin + B])
            logits = runtime.call("evaluate", gate=[gate], **rows)["logits"].astype(np.float64)
            probability = 1.0 / (1.0 + np.exp(-logits))
            total -= (weights * np.log(np.where(labels == 1, probability, 1.0 - probability))).sum()
        return total / len(heldout)

    anchor = runtime.call("init", profile=profile)["vector"]
    cloud_loss, vectors, losses = loss(0.0), [], []
    for order in training_schedule(len(train), B, epochs, seed=0):
        for step in order:
            rows, labels, weights = batch([train[row] for row in step if row >= 0])
            settings = {
                "learning_rate": [learning_rate],
                "anchor": anchor,
                "pull": [float(np.float32(pull)) / len(train)],
            }
            runtime.call("train", labels=labels, weights=weights, **settings, **rows)
        vectors.append(runtime.call("get", **UNUSED)["vector"])
        losses.append(loss(1.0))
    return cloud_loss, vectors, losses


def test_it_does_what_the_protocol_says(device, runtime):
    items = fill(device)  # 23 interactions: floor(0.2 * 23) = 4 are held out
    cloud_loss, vectors, losses = by_hand(runtime, items, range(19), range(19, 23), 5, 0.05, 0.01)
    report = device.personalize()
    best = int(np.argmin(losses))
    assert (report.samples, report.heldout_samples, report.steps) == (19, 4, 5 * 5)
    assert report.best_epoch == best
    np.testing.assert_allclose(device.vector, vectors[best], atol=1e-5)
    np.testing.assert_allclose(report.heldout_losses, losses, rtol=1e-5)
    assert report.cloud_loss == pytest.approx(cloud_loss, rel=1e-5)
    assert report.personal_loss == min(report.heldout_losses)
    assert report.gate == device.gate == float(min(losses) < cloud_loss)


def test_personalisation_helps_a_user_whose_taste_is_plain(device):
    fill(device, 200)
    report = device.personalize(PersonalizeConfig(epochs=10))
    assert report.gate == 1.0
    assert report.personal_loss < report.cloud_loss - 0.05
    assert report.losses[-1] < report.losses[0]


@pytest.mark.parametrize("count", [1, B - 1, B, B + 1, 2 * B + 3])
def test_any_number_of_rows_trains_with_the_last_batch_padded(device, runtime, count):
    items = fill(device, count)
    report = device.personalize(PersonalizeConfig(heldout_fraction=0.0, epochs=2))
    assert (report.samples, report.steps) == (count, 2 * math.ceil(count / B))
    anchor = runtime.call("init", profile=[[2]])["vector"]
    assert (device.vector != anchor).any()
    assert len(items) == count


def test_without_samples_nothing_changes(device):
    device.remember([101, 102], [1, 0])
    before, vector = device.state, device.vector
    report = device.personalize()
    assert (report.stopped, report.samples, report.steps, report.losses) == ("no samples", 0, 0, ())
    assert device.state == before
    np.testing.assert_array_equal(device.vector, vector)


@pytest.mark.parametrize("count", [1, 4])
def test_too_little_to_hold_out_leaves_the_gate_at_0(device, count):
    fill(device, count)  # floor(0.2 * 4) = 0
    report = device.personalize(PersonalizeConfig(gate_margin=0.0, epochs=20))
    assert report.heldout_samples == 0
    assert report.cloud_loss is report.personal_loss is None
    assert report.gate == device.gate == 0.0


@pytest.mark.parametrize(
    ("cloud", "personal", "margin", "gate"),
    [
        (0.6, 0.5, 0.0, 1.0),
        (0.5, 0.5, 0.0, 0.0),  # a tie is no evidence
        (0.5, 0.6, 0.0, 0.0),
        (0.6, 0.5, 0.2, 0.0),
        (0.6, 0.5, 0.05, 1.0),
        (0.5, 0.55, -0.1, 1.0),  # may lose by as much
        (0.5, 0.65, -0.1, 0.0),
        (None, None, 0.0, 0.0),
        (0.6, None, 0.0, 0.0),
    ],
)
def test_the_gate_opens_only_on_evidence_beyond_the_margin(cloud, personal, margin, gate):
    assert decide_gate(Evidence(1, cloud, personal), margin) == gate


def test_a_second_call_goes_on_with_vector_and_optimiser_bit_for_bit(tmp_path, bundle):
    config = PersonalizeConfig(heldout_fraction=0.0, epochs=1)
    vectors = {}
    for name, reopened in (("straight", False), ("restarted", True)):
        device = Device.open(tmp_path / name, bundle)
        fill(device, 12)
        device.personalize(config)
        if reopened:
            device.close()
            device = Device.open(tmp_path / name, bundle)
        device.personalize(config)
        vectors[name] = device.vector
        assert device.state["steps"] == 6
        device.close()
    np.testing.assert_array_equal(vectors["restarted"], vectors["straight"])


def test_a_trained_vector_is_kept_where_more_training_makes_it_worse(device):
    fill(device, 60)
    first = device.personalize(PersonalizeConfig(epochs=8))
    vector = device.vector
    worse = device.personalize(PersonalizeConfig(learning_rate=5.0, epochs=1))
    assert worse.heldout_losses[0] > first.personal_loss
    assert worse.best_epoch is None
    assert worse.personal_loss == first.personal_loss
    np.testing.assert_array_equal(device.vector, vector)
    assert device.state["samples_trained"] == first.samples


@pytest.mark.parametrize("wild", [{"learning_rate": 3e38}, {"pull": 3e38}, {"learning_rate": 1e7}])
def test_training_that_diverges_rolls_back(device, wild):
    fill(device, 40)
    first = device.personalize()
    vector, gate = device.vector, device.gate
    report = device.personalize(PersonalizeConfig(**wild))
    assert (report.stopped, report.step_of_failure, report.steps) == ("diverged", 0, 0)
    assert np.isfinite(device.vector).all()
    assert (device.gate, report.personal_loss) == (gate, first.personal_loss)
    np.testing.assert_array_equal(device.vector, vector)
    assert np.isfinite(device.scores([101], gate=1)).all()


def test_patience_ends_training_early(device):
    fill(device, 40)
    report = device.personalize(PersonalizeConfig(learning_rate=2.0, epochs=50, patience=2))
    assert report.stopped == "patience"
    best = -1 if report.best_epoch is None else report.best_epoch
    assert len(report.heldout_losses) == best + 1 + 2


def test_should_stop_ends_training_and_keeps_what_was_learned(device):
    fill(device, 40)
    asked = []
    report = device.personalize(should_stop=lambda: len(asked) >= 3 or asked.append(0))
    assert (report.stopped, report.steps, report.best_epoch) == ("should_stop", 3, 0)
    assert device.state["steps"] == 3


def test_should_stop_at_once_changes_nothing(device):
    fill(device, 40)
    vector = device.vector
    report = device.personalize(should_stop=lambda: True)
    assert (report.steps, report.best_epoch, device.gate) == (0, None, 0.0)
    np.testing.assert_array_equal(device.vector, vector)


def test_on_step_hears_of_every_step(device):
    fill(device, 10)  # 2 held out; 8 rows are 2 batches
    heard = []
    report = device.personalize(PersonalizeConfig(epochs=2), on_step=lambda *step: heard.append(step))
    assert [step[:2] for step in heard] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert report.losses[0] == pytest.approx((heard[0][2] + heard[1][2]) / 2)


def test_an_error_in_a_callback_leaves_the_device_as_it_was(device):
    fill(device, 10)
    vector = device.vector

    def fail(*_):
        raise KeyError("the app's own")

    with pytest.raises(KeyError):
        device.personalize(on_step=fail)
    np.testing.assert_array_equal(device.vector, vector)
    assert device.personalize().stopped == "finished"


def test_a_strong_pull_holds_the_vector_at_its_anchor(tmp_path, bundle):
    moved = {}
    for pull in (0.0, 100.0):
        with Device.open(tmp_path / str(pull), bundle) as device:
            fill(device, 40)
            start = device.vector
            device.personalize(PersonalizeConfig(pull=pull, epochs=20, heldout_fraction=0.0, learning_rate=0.01))
            moved[pull] = np.abs(device.vector - start).max()
    assert moved[100.0] < 0.1 * moved[0.0]


def test_skipped_items_and_their_click_are_held_out_together(device):
    device.log_many(range(101, 111), skipped=[[111, 112]] * 10)
    report = device.personalize(PersonalizeConfig(epochs=1))
    assert (report.samples, report.heldout_samples) == (8 * 3, 2 * 3)


def test_negatives_are_drawn_where_asked_for(device):
    device.log_many(range(101, 111))
    report = device.personalize(PersonalizeConfig(epochs=1, negatives=4))
    assert (report.samples, report.heldout_samples) == (8 * 5, 2 * 5)


def test_settings_left_out_are_the_manifests(bundle):
    config = PersonalizeConfig(epochs=3).with_defaults(bundle.manifest.training)
    assert config == PersonalizeConfig(
        learning_rate=bundle.manifest.training.learning_rate,
        epochs=3,
        pull=bundle.manifest.training.pull,
        heldout_fraction=bundle.manifest.training.heldout_fraction,
        gate_margin=0.0,
        negatives=0,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": -0.1},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"heldout_fraction": 1.0},
        {"seed": -1},
        {"patience": 0},
        {"pull": "0.1"},
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(PersonalizeConfig(), **wrong)


def test_log_loss_of_known_values():
    assert log_loss(np.array([0.0, 0.0]), np.array([1.0, 0.0])).tolist() == pytest.approx([math.log(2)] * 2)
    assert log_loss(np.array([1000.0, -1000.0]), np.array([0.0, 0.0])).tolist() == [1000.0, 0.0]
    assert log_loss(np.array([2.0]), np.array([0.5]))[0] == pytest.approx(math.log(1 + math.exp(2)) - 1.0)

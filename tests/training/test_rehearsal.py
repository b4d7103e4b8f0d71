"""Joint learning of f, Theta, U and the users' offsets on a small synthetic log."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf import rehearsal
from dccl_tf.losses import bernoulli_kl, cross_entropy
from dccl_tf.momodistill import Teachers
from dccl_tf.rehearsal import Rehearsal, joint_loss, learn_jointly, rehearse
from dccl_tf.run_config import evaluators, joined, split_log, training_data
from dccl_tf.trainer import TrainConfig
from tests.training.conftest import CONFIG, USERS


def teachers(cloud) -> Teachers:
    vectors = np.random.default_rng(0).normal(size=(USERS, 4)).astype(np.float32)
    return Teachers(cloud.copy(), vectors, np.ones(USERS, bool))


def test_one_pass_gives_the_logits_of_both_models(cloud, data):
    batch = next(iter(data(0)))
    theta = tf.random.normal([len(batch["users"]), 4], seed=1)
    shared, personal = cloud.shared_and_personal(batch, theta)
    np.testing.assert_allclose(shared, cloud(batch), atol=1e-6)
    np.testing.assert_allclose(personal, cloud(batch, theta=theta), atol=1e-6)


def test_loss_is_the_sum_that_the_module_states(cloud, data):
    """With delta = 0 the personal models are f with U(0, u); the prior costs nothing."""
    model, taught, batch = Rehearsal(cloud, USERS), teachers(cloud), next(iter(data(0)))
    total, _ = joint_loss(model, taught, beta=0.5, shared=0.3, pull=np.ones(USERS))(batch)
    own = cloud(batch, theta=cloud.encoder.start(batch["profile"]))
    teacher, common = taught.cloud(batch, theta=taught.theta(batch)), cloud(batch)
    expected = cross_entropy(own, batch["targets"]) + 0.3 * cross_entropy(common, batch["targets"])
    expected += 0.5 * (bernoulli_kl(teacher, own) + 0.3 * bernoulli_kl(teacher, common))
    assert float(total) == pytest.approx(float(tf.reduce_sum(expected * batch["weights"][..., None])), rel=1e-5)


def test_the_prior_of_a_users_samples_sums_to_half_the_pull_times_the_square(cloud, data):
    """20 samples with 0.5 * (6 / 20) * |delta|^2 each, |delta|^2 = 4: together 0.5 * 6 * 4 = 12 a user."""
    model = Rehearsal(cloud, USERS)
    pull = 6.0 / data.samples_of_users()
    total = {}
    for size in (0.0, 1.0):
        model.offsets.assign(np.full((USERS, 4), size))
        with_prior, without = joint_loss(model, None, 0.0, 0.0, pull), joint_loss(model, None, 0.0, 0.0, 0.0 * pull)
        total[size] = sum(float(with_prior(b)[0] - without(b)[0]) for b in data(0))
    assert total[0.0] == pytest.approx(0.0, abs=1e-3)
    assert total[1.0] == pytest.approx(12.0 * USERS, rel=1e-3)


def test_everything_learns_at_once_and_users_come_apart(cloud, data, log):
    model = Rehearsal(cloud, USERS)
    parts = (cloud.din, cloud.metapatch, cloud.encoder)
    before = [[v.numpy().copy() for v in part.trainable_variables] for part in parts]
    history = rehearse(model, data, TrainConfig(epochs=6, learning_rate=0.02), pull=1.0, shared=0.3)
    assert history.loss[-1] < history.loss[0]
    for part, old in zip(parts, before, strict=True):
        assert any(not np.array_equal(a, b.numpy()) for a, b in zip(old, part.trainable_variables, strict=True))
    vectors = model.vectors(log.users.profile)
    assert vectors.shape == (USERS, 4)
    np.testing.assert_allclose(vectors - model.offsets.numpy(), cloud.encoder.start(log.users.profile), atol=1e-6)
    assert np.ptp(model.offsets.numpy(), axis=0).min() > 0.01


def test_a_strong_prior_keeps_users_at_their_start(cloud, data):
    model = Rehearsal(cloud, USERS)
    rehearse(model, data, TrainConfig(epochs=3, learning_rate=0.01), pull=1e6, shared=0.3)
    assert np.abs(model.offsets.numpy()).max() < 0.03


def test_student_as_its_own_teacher_is_refused(cloud, data):
    taught = Teachers(cloud, np.zeros((USERS, 4), np.float32), np.ones(USERS, bool))
    with pytest.raises(ValueError, match="student itself"):
        rehearse(Rehearsal(cloud, USERS), data, TrainConfig(epochs=1), pull=1.0, shared=0.3, teachers=taught, beta=0.1)


def test_an_end_that_diverges_never_happened(log):
    config = replace(CONFIG, pretraining=TrainConfig(epochs=1), closing_beta=1.0)
    span, judge = joined(split_log(log, config), "all"), evaluators(log, split_log(log, config), config)[0]
    found = []
    for rate in (None, 1e30):
        closing = config.closing if rate is None else replace(config.closing, learning_rate=rate)
        beta = 0.0 if rate is None else 1.0
        model = Rehearsal.untrained(log, replace(config, closing_beta=beta))
        learn_jointly(model, log, replace(config, closing=closing, closing_beta=beta), span, judge)
        found.append(model.cloud.get_weights())
    for without, diverged in zip(*found, strict=True):
        np.testing.assert_allclose(diverged, without, atol=1e-6)


@pytest.mark.parametrize("gained", [True, False])
def test_at_the_end_personal_models_teach_f_if_validation_gains(log, tmp_path, monkeypatch, gained):
    """The end draws f to the personal models: KL to them falls. Where validation does not gain, it never happened."""

    def learned(beta: float, epochs: int = 2) -> tuple[Rehearsal, float]:
        config = replace(CONFIG, pretraining=TrainConfig(epochs=2, learning_rate=0.02), closing_beta=beta)
        # What is judged: the epochs to do, then f and the personal models before the end, and 1.0 ever after.
        judged = iter([0.0] * epochs + [0.0 if gained else 2.0] * 2)
        monkeypatch.setattr(rehearsal, "validation", lambda *_: next(judged, 1.0))
        model, split = Rehearsal.untrained(log, config), split_log(log, config)
        span, judge = joined(split, "all"), evaluators(log, split, config)[0]
        history = learn_jointly(model, log, config, span, judge, checkpoint_dir=tmp_path / str(beta))
        assert len(history.loss) == 2
        batch = next(iter(training_data(log, config, span, 0)(0)))
        own = model.cloud(batch, theta=tf.gather(model.vectors(log.users.profile), batch["users"]))
        return model, float(tf.reduce_mean(bernoulli_kl(own, model.cloud(batch))))

    (_, without), (model, with_end), (again, _) = learned(0.0), learned(30.0), learned(30.0, epochs=0)
    assert with_end < without if gained else with_end == pytest.approx(without, rel=1e-5)
    np.testing.assert_allclose(again.offsets.numpy(), model.offsets.numpy(), atol=1e-6)  # from its checkpoints

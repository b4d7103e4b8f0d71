"""MoMoDistill: Eq. 5 and 7 on a small synthetic log (hostile rows C4, C5)."""

import numpy as np
import pytest

from dccl_tf.momodistill import Teachers, distill_cloud, learn_basis
from dccl_tf.pretrain import pretrain
from dccl_tf.trainer import TrainConfig
from tests.training.conftest import USERS

ONCE = TrainConfig(epochs=2, learning_rate=0.01)


def weights(layer) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in layer.variables]


def same(before: list[np.ndarray], layer) -> bool:
    return all(np.array_equal(old, new) for old, new in zip(before, weights(layer), strict=True))


def teachers(cloud, value: float = 1.0) -> Teachers:
    vectors = np.random.default_rng(0).normal(size=(USERS, 4)).astype(np.float32) * value
    return Teachers(cloud.copy(), vectors, np.ones(USERS, bool))


def test_distillation_moves_f_alone_and_no_teacher(cloud, data):  # C4
    taught = teachers(cloud)
    teacher, basis = weights(taught.cloud), weights(cloud.metapatch)
    before = weights(cloud.din)
    distill_cloud(cloud, data, taught, ONCE, beta=0.5)
    assert same(teacher, taught.cloud)
    assert same(basis, cloud.metapatch)
    assert not same(before, cloud.din)


def test_beta_zero_is_training_on_data_alone(cloud, data):
    twin = cloud.copy()
    distill_cloud(cloud, data, teachers(cloud), ONCE, beta=0.0)
    pretrain(twin, data, ONCE)
    for ours, theirs in zip(weights(cloud.din), weights(twin.din), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_large_beta_brings_the_student_to_its_teachers(cloud, data):
    taught = teachers(cloud, value=2.0)
    distances = []
    for beta in (0.0, 50.0):
        student = cloud.copy()
        distill_cloud(student, data, taught, TrainConfig(epochs=15, learning_rate=0.01), beta=beta)
        batch = next(data.in_order(0))
        weight = batch["weights"][..., None]
        distances.append(float(np.sum(taught.divergence(batch, student(batch)) * weight) / np.sum(weight)))
    assert distances[1] < 0.5 * distances[0]


def test_basis_learns_with_f_fixed_and_its_loss_falls(cloud, data):
    before, basis = weights(cloud.din), weights(cloud.metapatch)
    history = learn_basis(cloud, data, None, TrainConfig(epochs=6, learning_rate=0.01))
    assert same(before, cloud.din)
    assert not same(basis, cloud.metapatch)
    assert history.loss[-1] < history.loss[0]


def test_users_without_a_vector_teach_nothing(cloud, data):
    vectors = np.full((USERS, 4), np.nan, np.float32)
    vectors[0] = 1.0
    known = np.arange(USERS) == 0
    taught = Teachers(cloud.copy(), vectors, known)
    batch = next(data.in_order(0))
    divergence = taught.divergence(batch, cloud(batch)).numpy()
    others = batch["users"] != 0
    assert np.isfinite(divergence).all()
    np.testing.assert_array_equal(divergence[others], 0.0)
    assert divergence[~others].max() > 0


def test_no_vector_at_all_is_refused_in_words(cloud):  # C5
    with pytest.raises(ValueError, match="keep the current bundle"):
        Teachers(cloud, np.zeros((USERS, 4), np.float32), np.zeros(USERS, bool))


@pytest.mark.parametrize("learn", [distill_cloud, learn_basis])
def test_student_as_its_own_teacher_is_refused(cloud, data, learn):
    taught = Teachers(cloud, np.zeros((USERS, 4), np.float32), np.ones(USERS, bool))
    with pytest.raises(ValueError, match="student itself"):
        learn(cloud, data, taught, ONCE, beta=0.1)

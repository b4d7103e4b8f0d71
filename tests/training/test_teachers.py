"""Teachers of one and of several bundles, from uploads to logits."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.teachers import TeacherGroups, Teachers, Uploads, personal_models
from dccl_tf.trust import Trust
from dccl_tf.vectors import UploadedVectors
from tests.models import small

USERS = 5


def uploads(vectors: dict[str, float], sequence: int = 1, gain: float = 0.1) -> UploadedVectors:
    """Each device's vector is K times one number."""
    count, names = len(vectors), sorted(vectors)
    return UploadedVectors(
        device_ids=names,
        vectors=np.array([[vectors[name]] * small.K for name in names], np.float32).reshape(count, small.K),
        samples=np.ones(count, np.int64),
        gates=np.ones(count, np.float32),
        cloud_loss=np.full(count, 0.6),
        personal_loss=np.full(count, 0.6 - gain),
        sequences=np.full(count, sequence),
    )


def batch(users=(0, 1, 2)) -> dict[str, tf.Tensor]:
    packed = small.packed(rows=3)
    return packed | {
        "users": tf.constant(users, tf.int32),
        "targets": tf.cast(packed["candidates"] % 2, tf.float32),
    }


@pytest.fixture(scope="module")
def clouds():
    return small.cloud(seed=1), small.cloud(seed=2)


def test_every_row_meets_the_model_that_its_vector_was_trained_on(clouds):
    old, new = clouds
    found = personal_models([Uploads(old, uploads({"user-0": 0.5})), Uploads(new, uploads({"user-2": 2.0}))], USERS)
    assert isinstance(found, TeacherGroups)
    logits, weights = found.logits(batch())
    theta = tf.constant([[0.5] * small.K, [0.0] * small.K, [2.0] * small.K])
    np.testing.assert_allclose(found.theta(batch()), theta)
    np.testing.assert_allclose(logits[0], old(batch(), theta=theta)[0], atol=1e-6)
    np.testing.assert_allclose(logits[2], new(batch(), theta=theta)[2], atol=1e-6)
    np.testing.assert_array_equal(weights[:, 0, 0], [1, 0, 1])


def test_a_group_with_no_row_in_the_batch_costs_nothing_and_breaks_nothing(clouds):
    groups = [Uploads(cloud, uploads({name: 1.0})) for cloud, name in zip(clouds, ("user-3", "user-4"), strict=True)]
    found = personal_models(groups, USERS)
    divergence = tf.function(found.divergence)(batch(), tf.ones([3, 4, 2]))
    np.testing.assert_array_equal(divergence, np.zeros([3, 4, 2]))


def test_groups_of_one_model_are_as_one(clouds):
    """Where both bundles have one model, groups change nothing: the same divergence as one table of all vectors."""
    cloud, vectors = clouds[0], np.random.default_rng(0).normal(size=(USERS, small.K)).astype(np.float32)
    one = Teachers(cloud, vectors, np.ones(USERS, bool))
    parts = [Teachers(cloud, vectors, np.arange(USERS) % 2 == part) for part in (0, 1)]
    several = TeacherGroups(parts, np.arange(USERS) % 2)
    logits = tf.random.normal([3, 4, 2], seed=0)
    np.testing.assert_allclose(several.divergence(batch(), logits), one.divergence(batch(), logits), atol=1e-6)


@pytest.mark.parametrize(("first", "second", "expected"), [(1, 2, 2.0), (3, 2, 1.0), (1, 1, 2.0)])
def test_a_device_of_two_bundles_counts_by_its_newest_upload(clouds, first, second, expected):
    old, new = (uploads({"user-1": value}, number) for value, number in ((1.0, first), (2.0, second)))
    found = personal_models([Uploads(clouds[0], old), Uploads(clouds[1], new)], USERS)
    assert isinstance(found, Teachers)  # nobody is left for the other group
    np.testing.assert_array_equal(found.theta(batch())[1], [expected] * small.K)


def test_a_newer_vector_that_is_not_trusted_does_not_bring_back_an_older_one(clouds):
    old, new = uploads({"user-1": 1.0}, 1), uploads({"user-0": 1.0, "user-1": 2.0}, 2)
    new.personal_loss[1] = 0.7
    sources = [Uploads(clouds[0], old), Uploads(clouds[1], new)]
    weights = personal_models(sources, USERS, Trust(least_gain=0.0)).logits(batch())[1]
    np.testing.assert_array_equal(weights[:, 0, 0], [1, 0, 0])


@pytest.mark.parametrize(
    "name", ["user-5", "user--1", "user-", "user-1 ", "phone-1", "user-1e0", "user-99999999999999"]
)
def test_devices_of_no_user_of_the_log_are_left_out(clouds, name):
    found = personal_models([Uploads(clouds[0], uploads({name: 1.0, "user-0": 1.0}))], USERS)
    np.testing.assert_array_equal(found.logits(batch())[1][:, 0, 0], [1, 0, 0])


def test_no_vector_is_refused_in_words(clouds):  # C5
    with pytest.raises(ValueError, match="keep the current bundle"):
        personal_models([Uploads(cloud, uploads({})) for cloud in clouds], USERS)


def test_a_bundle_without_a_vector_is_left_out(clouds):
    """A store knows no K of a bundle that it does not know: its vectors are [0, 0]."""
    nothing = replace(uploads({}), vectors=np.zeros((0, 0), np.float32))
    found = personal_models([Uploads(clouds[0], nothing), Uploads(clouds[1], uploads({"user-0": 1.0}))], USERS)
    assert found.clouds == (clouds[1],)


def test_vectors_of_another_length_are_told(clouds):
    short = replace(uploads({"user-0": 1.0}), vectors=np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="expected vectors of 4 floats, got 3"):
        personal_models([Uploads(clouds[0], short)], USERS)


def test_an_older_catalogue_is_read_by_its_own_numbers(clouds):
    """Item i of the log is item i - 1 of the bundle's, and the log's newest, 1, the bundle does not know (31)."""
    items = np.array([0, small.V + 1, *range(1, small.V), small.V + 1], np.int32)
    vectors = np.ones((USERS, small.K), np.float32)
    found = Teachers(clouds[0], vectors, np.ones(USERS, bool), items=items).logits(batch())[0]
    moved = batch()
    for column in ("history", "candidates"):
        ids = moved[column].numpy()
        moved[column] = tf.constant(np.where(ids == 0, 0, np.where(ids == 1, 31, ids - 1)).astype(np.int32))
    np.testing.assert_allclose(found, clouds[0](moved, theta=tf.ones([3, small.K])), atol=1e-6)


@pytest.mark.parametrize("length", [small.T - 2, small.T + 3])
def test_a_teacher_reads_histories_of_its_own_length(length):
    """The newest items of a longer history; zeros, as in a young user's, before a shorter one. S = 4."""
    teacher = small.cloud(seed=1, history_length=length)
    history, missing = batch()["history"].numpy(), length - small.T
    own = np.pad(history, [[0, 0], [missing, 0]]) if missing > 0 else history[:, -missing:]
    vectors = np.ones((USERS, small.K), np.float32)
    found, _ = Teachers(teacher, vectors, np.ones(USERS, bool)).logits(batch())
    expected = teacher(batch() | {"history": tf.constant(own)}, theta=tf.ones([3, small.K]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_confidence_is_the_ratio_of_probabilities_up_to_one(clouds):
    vectors = np.full((USERS, small.K), 3.0, np.float32)
    own, weights = Teachers(clouds[0], vectors, np.ones(USERS, bool), confidence=True).logits(batch())
    shared, true = clouds[0](batch()), batch()["targets"].numpy()
    right, before = (np.where(true > 0, p, 1 - p) for p in (tf.sigmoid(own).numpy(), tf.sigmoid(shared).numpy()))
    np.testing.assert_allclose(weights, np.minimum(1.0, right / before), rtol=1e-4)
    assert 0.0 < weights.numpy().min() < 0.999 < weights.numpy().max() == 1.0

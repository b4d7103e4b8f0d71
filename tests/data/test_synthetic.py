"""Made-up logs and their oracle."""

import numpy as np
import pytest

from dccl_tf.data.batches import point_rows
from dccl_tf.data.negatives import evaluation_negatives
from dccl_tf.data.synthetic import synthetic_log


@pytest.fixture(scope="module")
def made():
    return synthetic_log(0, users=400, items=300)


def positions_of(log):
    return np.arange(len(log.items)) - log.offsets[log.owners]


def hit_rate_at_10(scores):
    return ((scores[:, 1:] > scores[:, :1]).sum(axis=1) < 10).mean()


def last_items(log):
    users = np.arange(len(log.users))
    last = log.lengths - 1
    candidates = np.concatenate([log.items[log.offsets[1:] - 1][:, None], evaluation_negatives(log, users)], axis=1)
    return users, last, candidates


def test_one_seed_one_log():
    first, second = (synthetic_log(3, users=30, items=40, mean_length=10)[0] for _ in range(2))
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.timestamps, second.timestamps)


def test_another_seed_another_log():
    one, other = (synthetic_log(seed, users=30, items=40, mean_length=10)[0] for seed in (3, 4))
    assert one.items.tolist() != other.items.tolist()


def test_nobody_meets_an_item_twice(made):
    log, _ = made
    assert len(log.touched[0]) == len(log.items)


def test_few_users_have_most_and_few_items_are_met_most(made):
    log, _ = made
    lengths = np.sort(log.lengths)
    assert lengths[0] >= 8
    assert lengths.mean() > 1.25 * np.median(lengths)
    met = np.sort(np.bincount(log.items, minlength=301)[1:])[::-1]
    assert met[:30].sum() > 0.25 * met.sum()  # a tenth of the items; 0.1 were they alike


def test_half_of_the_items_met_are_liked(made):
    log, _ = made
    assert log.labels.mean() == pytest.approx(0.5, abs=0.03)


def test_the_oracle_is_calibrated(made):
    log, oracle = made
    logits = oracle.logits(log.owners, positions_of(log), log.items[:, None])[:, 0]
    chance = 1 / (1 + np.exp(-logits))
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        part = (chance >= low) & (chance < high)
        error = np.sqrt(chance[part].mean() * (1 - chance[part].mean()) / part.sum())
        assert abs(log.labels[part].mean() - chance[part].mean()) < 5 * error


def test_the_oracle_beats_popularity_and_a_taste_that_stands_still(made):
    log, oracle = made
    users, last, candidates = last_items(log)
    of_oracle = hit_rate_at_10(oracle.logits(users, last, candidates))
    of_popularity = hit_rate_at_10(np.bincount(log.items, minlength=302)[candidates])
    of_first_taste = hit_rate_at_10(oracle.logits(users, 0 * last, candidates))
    assert of_oracle > of_popularity + 0.03
    assert of_oracle > of_first_taste + 0.03


def test_profile_says_something_of_taste(made):
    log, oracle = made
    similar = oracle.tastes @ oracle.tastes.T
    same = (log.users.profile[:, None] == log.users.profile[None]).all(axis=2)
    np.fill_diagonal(same, False)
    assert similar[same].mean() > similar[~same].mean() + 0.1


def test_padding_has_no_vector_in_the_oracle(made):
    log, oracle = made
    history, _ = point_rows(log, np.array([0]), np.array([0]), 3)
    logits = oracle.logits(np.array([0]), np.array([0]), history)
    np.testing.assert_allclose(logits, -oracle.middle)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"users": 0}, "users, items"),
        ({"categories": 99}, "categories"),
        ({"shortest": 30, "items": 40}, "shortest"),
        ({"drift": float("nan")}, "seed, drift: expected 0 or more and a finite number, got 0 and nan"),
    ],
)
def test_numbers_that_do_not_fit_are_named(choices, message):
    with pytest.raises(ValueError, match=message):
        synthetic_log(0, **choices)

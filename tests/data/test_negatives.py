"""Negatives: exact, uniform, without leaks; hostile row M4."""

import numpy as np
import pytest

from dccl_tf.data.negatives import NegativeSampler, evaluation_negatives
from dccl_tf.data.schema import Span
from tests.data.logs import log_of, random_log


def test_kth_untouched_item_by_hand():
    sampler = NegativeSampler(log_of([2, 3, 6], [1], items=7))
    np.testing.assert_array_equal(sampler.untouched(np.zeros(4, int), np.arange(4)), [1, 4, 5, 7])
    np.testing.assert_array_equal(sampler.untouched(np.ones(6, int), np.arange(6)), [2, 3, 4, 5, 6, 7])


def test_untouched_items_are_the_complement():
    log = random_log(3)
    sampler = NegativeSampler(log)
    for user in range(len(log.users)):
        own = set(log.items[log.offsets[user] : log.offsets[user + 1]].tolist())
        k = np.arange(sampler.available[user])
        listed = sampler.untouched(np.full(len(k), user), k).tolist()
        assert listed == [item for item in range(1, 61) if item not in own]


def test_draws_are_uniform():
    sampler = NegativeSampler(log_of([2, 4], items=6))
    drawn = sampler.draw_for(np.zeros(10_000, int), np.arange(10_000), 4, seed=0, epoch=0)
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(counts[[1, 3, 5, 6]], 10_000, atol=5 * 87)  # 5 standard deviations of 40,000 / 4


def test_held_out_items_stay_drawable_and_visible_ones_do_not():
    log = log_of([1, 2, 3, 1], items=4)
    sampler = NegativeSampler(log, stop=np.array([2]))
    assert set(sampler.draw_for(np.zeros(200, int), np.arange(200), 1, seed=0, epoch=0).ravel()) == {3, 4}


def test_an_item_met_again_after_the_stop_stays_out():
    sampler = NegativeSampler(log_of([1, 2, 1], items=3), stop=np.array([1]))
    assert set(sampler.untouched(np.zeros(2, int), np.arange(2))) == {2, 3}


def test_a_sample_has_the_same_negatives_whoever_is_drawn_beside_it():
    sampler = NegativeSampler(random_log(1))
    users, positions = np.arange(20), np.arange(20) % 4
    together = sampler.draw_for(users, positions, 3, seed=5, epoch=2)
    alone = sampler.draw_for(users[7:8], positions[7:8], 3, seed=5, epoch=2)
    np.testing.assert_array_equal(together[7:8], alone)


@pytest.mark.parametrize("other", [{"seed": 6, "epoch": 2}, {"seed": 5, "epoch": 3}])
def test_seed_and_epoch_change_the_draw(other):
    sampler, users = NegativeSampler(random_log(1)), np.arange(20)
    first = sampler.draw_for(users, users, 3, seed=5, epoch=2)
    assert (first != sampler.draw_for(users, users, 3, **other)).mean() > 0.8  # chance alone: 1 - 1/45 on average


def test_a_user_who_touched_everything_is_named():
    sampler = NegativeSampler(log_of([1], [1, 2, 3]))
    with pytest.raises(ValueError, match=r"user .*1001.* has 0 of 3"):
        sampler.draw_for(np.array([0, 1]), np.array([0, 0]), 1, seed=0, epoch=0)


def test_evaluation_negatives_over_a_thousand_seeds():  # M4
    log = log_of([1, 5, 9], [2, 3], items=20)
    own = {0: {1, 5, 9}, 1: {2, 3}}
    lists = set()
    for seed in range(1000):
        drawn = evaluation_negatives(log, np.array([0, 1]), n=8, seed=seed)
        for user in (0, 1):
            items = drawn[user].tolist()
            assert len(set(items)) == 8
            assert not set(items) & (own[user] | {0})
            assert 1 <= min(items) <= max(items) <= 20
        lists.add(drawn.tobytes())
    assert len(lists) == 1000  # C(17, 8) * C(18, 8) is 10^9: two equal lists would be no accident


def test_one_seed_one_list():
    log = random_log(2)
    users = np.arange(len(log.users))
    first = evaluation_negatives(log, users, 20, seed=3)
    np.testing.assert_array_equal(first, evaluation_negatives(log, users, 20, seed=3))
    np.testing.assert_array_equal(first[[5, 2]], evaluation_negatives(log, np.array([5, 2]), 20, seed=3))


def test_every_set_of_evaluation_negatives_is_equally_likely():
    log = log_of(*[[1]] * 4000, items=5)  # 2 of {2, 3, 4, 5}: six sets
    drawn = np.sort(evaluation_negatives(log, np.arange(4000), 2, seed=0), axis=1)
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    np.testing.assert_allclose(counts, [4000 / 6] * 6, atol=5 * 24)


def test_all_untouched_items_can_be_asked_for():
    drawn = evaluation_negatives(log_of([2], items=5), np.array([0]), 4, seed=0)
    assert sorted(drawn[0]) == [1, 3, 4, 5]


def test_more_evaluation_negatives_than_untouched_items_is_refused():
    with pytest.raises(ValueError, match=r"expected at least 5 items .* has 4 of 5"):
        evaluation_negatives(log_of([2], items=5), np.array([0]), 5, seed=0)


def test_a_span_of_no_users_draws_nothing():
    log = random_log(4)
    span = Span(np.zeros(len(log.users), int), np.zeros(len(log.users), int))
    nobody = np.zeros(0, int)
    assert NegativeSampler(log, span.stop).draw_for(nobody, nobody, 2, seed=0, epoch=0).shape == (0, 2)

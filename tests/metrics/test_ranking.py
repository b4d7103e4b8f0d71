"""Hit rate and NDCG by hand (hostile rows M6 and M8), their identities and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dccl_tf.metrics import graded_ndcg, hit_rate, ndcg


def test_second_place_by_hand():
    scores = np.array([[2.0, 3.0, 1.0, 0.0]])
    assert hit_rate(scores, 1) == [0.0]
    assert hit_rate(scores, 2) == [1.0]
    np.testing.assert_allclose(ndcg(scores, 5), [1 / np.log2(3)])


def test_first_place_is_worth_one_at_any_cut_off():
    for k in (1, 2, 10**9):
        assert hit_rate([[1.0, 0.0]], k) == ndcg([[1.0, 0.0]], k) == [1.0]


def test_partial_tie_by_hand():
    """One above, two tied with the relevant item: its rank is 2, 3 or 4 with equal chance."""
    scores = [[5, 9, 5, 5, 0]]
    assert hit_rate(scores, 1) == [0.0]
    np.testing.assert_allclose(hit_rate(scores, 3), [2 / 3])
    np.testing.assert_allclose(ndcg(scores, 3), [(1 / np.log2(3) + 1 / np.log2(4)) / 3])


@pytest.mark.parametrize("k", [1, 5, 10])
def test_constant_scores_share_all_places(k):  # M6
    scores = np.zeros((2, 101))
    np.testing.assert_allclose(hit_rate(scores, k), k / 101)
    np.testing.assert_allclose(ndcg(scores, k), sum(1 / np.log2(rank + 1) for rank in range(1, k + 1)) / 101)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(1, 8), st.randoms())
def test_order_of_the_others_does_not_matter(row, k, random):  # M6
    others = row[1:]
    random.shuffle(others)
    for metric in (hit_rate, ndcg):
        assert metric(np.array([row]), k) == metric(np.array([row[:1] + others]), k)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 6))
def test_ties_are_the_mean_of_breaking_them_by_chance(row, k):
    """Adding each of e small steps to the relevant item puts it on each of its e tied places once."""
    scores = np.array([row], float)
    tied = np.flatnonzero(scores[0] == scores[0, 0])
    broken = np.repeat(scores, len(tied), axis=0)
    for place in range(len(tied)):
        broken[place, tied[1:]] += 0.1 * (np.arange(len(tied) - 1) - place + 0.5)
    for metric in (hit_rate, ndcg):
        np.testing.assert_allclose(metric(scores, k), metric(broken, k).mean())


def test_masked_candidates_do_not_compete():
    scores = np.array([[1.0, 9.0, 0.0], [1.0, np.nan, 2.0]])
    where = np.array([[True, False, True], [True, False, True]])
    np.testing.assert_array_equal(hit_rate(scores, 1, where), [1.0, 0.0])


def test_no_rows_give_no_values():
    assert hit_rate(np.zeros((0, 5)), 1).shape == ndcg(np.zeros((0, 5)), 1).shape == (0,)


def test_infinite_scores_rank_as_numbers():
    np.testing.assert_array_equal(hit_rate([[np.inf, 1.0], [-np.inf, 1.0], [np.inf, np.inf]], 1), [1.0, 0.0, 0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 2.0], [np.nan, 1.0]], 1), r"scores: .*NaN at \[1, 0\]"),
        (([1.0, 2.0], 1), r"scores: expected shape \[N, C\].*\(2,\)"),
        ((np.zeros((2, 0)), 1), "C at least 1"),
        (([["a", "b"]], 1), "scores: expected numbers"),
        (([[1.0, 2.0]], 0), "k: .*at least 1, got 0"),
        (([[1.0, 2.0]], 1.5), "k: .*whole number.*1.5"),
        (([[1.0, 2.0]], 1, [[True]]), r"where: expected shape \(1, 2\)"),
        (([[1.0, 2.0]], 1, [[1, 0]]), "where: expected True and False, got int64"),
        (([[1.0, 2.0], [1.0, 2.0]], 1, [[True, True], [False, True]]), "where: .*row 1 is not"),
    ],
)
@pytest.mark.parametrize("metric", [hit_rate, ndcg])
def test_what_is_wrong_is_named(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)


def test_full_ranking_at_the_size_of_movielens():
    """6,040 users against 3,417 items of which nine tenths count."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6040, 3417)).astype(np.float32)
    where = rng.random(scores.shape, np.float32) < 0.9
    where[:, 0] = True
    found = ndcg(scores, 10, where)
    # A random rank among about 3,076 is each of the first ten with chance 1/3,076.
    assert found.mean() == pytest.approx(sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / 3076, rel=0.5)


def test_graded_ndcg_of_the_textbook():  # M8
    """DCG 3 + 2/1.585 + 3/2 + 0 + 1/2.585 + 2/2.807 = 6.861 of 8.740."""
    assert graded_ndcg([3, 2, 3, 0, 1, 2], [3, 3, 3, 2, 2, 2, 1, 0], 6) == pytest.approx(6.861 / 8.740, abs=1e-4)
    assert graded_ndcg([3, 2, 3, 0, 1, 2], [3, 3, 3, 2, 2, 2, 1, 0], 6) == pytest.approx(0.785, abs=5e-4)


def test_graded_ndcg_of_one_relevant_item_is_ndcg():
    assert graded_ndcg([0, 0, 1], [1], 3) == pytest.approx(ndcg([[1.0, 3.0, 2.0]], 3)[0])


def test_graded_ndcg_where_nothing_is_relevant_is_nan():
    assert np.isnan(graded_ndcg([0, 0], [0], 2))
    assert np.isnan(graded_ndcg([], [], 2))


@pytest.mark.parametrize("gains", [[np.nan], [-1], [[1]]])
def test_graded_ndcg_refuses_what_is_no_grade(gains):
    with pytest.raises(ValueError, match="gains"):
        graded_ndcg(gains, [1], 1)

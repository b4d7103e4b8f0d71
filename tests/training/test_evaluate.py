"""Who is judged, and who cannot be."""

import numpy as np
import pytest

from dccl_tf import evaluate
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Span
from dccl_tf.evaluate import LikedEvaluator, NextEvaluator, validation
from tests.data.logs import log_of

# Of items 1 to 8 the first user has touched 5, the second 2, the third 6.
LOG = log_of([1, 2, 3, 4, 5], [1, 2], [3, 4, 5, 6, 7, 8])
LAST = Span(LOG.lengths - 1, LOG.lengths)


def test_users_who_leave_too_few_competitors_are_not_judged():
    assert NextEvaluator(LOG, LAST, 3, negatives=2).users.tolist() == [0, 1, 2]
    some = NextEvaluator(LOG, LAST, 3, negatives=3)
    assert some.users.tolist() == [0, 1]
    assert sorted(some.candidates[0, 1:]) == [6, 7, 8]
    # Who is left out changes nothing for the others.
    np.testing.assert_array_equal(NextEvaluator(LOG, LAST, 3, negatives=5).candidates[0, 0], some.candidates[1, 0])


def test_a_large_log_is_ranked_among_all_items_for_some_of_its_users(monkeypatch):
    cloud = CloudModel.for_data(LOG.catalogue, LOG.users, length=2, history_length=3)
    everyone = NextEvaluator(LOG, LAST, 3, negatives=2, full=True)(cloud)
    assert not np.isnan(everyone["ndcg@10/full"]).any()
    monkeypatch.setattr(evaluate, "MOST_FULL_RANKING_PAIRS", 2 * len(LOG.catalogue))  # 2 of the 3 users
    some = [NextEvaluator(LOG, LAST, 3, negatives=2, seed=seed, full=True)(cloud) for seed in (0, 1)]
    ranked = ~np.isnan(some[0]["ndcg@10/full"])
    assert ranked.sum() == 2
    for found in some:  # the same two, whatever the seed
        np.testing.assert_array_equal(found["ndcg@10/full"][ranked], everyone["ndcg@10/full"][ranked])
    np.testing.assert_array_equal(some[0]["ndcg@10/neg100"], everyone["ndcg@10/neg100"])  # of all three


def test_a_model_whose_logits_are_no_numbers_is_worth_nan():
    log, last = log_of([1, 2, 3], [2, 3, 4], [3, 4, 5, 6, 7, 8]), Span(np.array([2, 2, 5]), np.array([3, 3, 6]))
    cloud = CloudModel.for_data(log.catalogue, log.users, length=2, history_length=3)
    judge = NextEvaluator(log, last, 3, negatives=2)
    assert 0.0 <= validation(judge, cloud) <= 1.0
    cloud.din.logit.bias.assign([np.nan])
    assert np.isnan(validation(judge, cloud))


def test_nobody_to_judge_is_told_before_anything_is_trained():
    with pytest.raises(ValueError, match=r"negatives: expected users with 7 items .* none of 3, with 8 items in all"):
        NextEvaluator(LOG, LAST, 3, negatives=7)
    empty = Span(LOG.lengths, LOG.lengths)
    for made in (NextEvaluator, LikedEvaluator):
        with pytest.raises(ValueError, match="split: expected users with held-out interactions, got none"):
            made(LOG, empty, 3)

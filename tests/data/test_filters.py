"""k-core and minimum history."""

import numpy as np
import pytest

from dccl_tf.data.filters import cap_histories, filter_log
from tests.data.logs import log_of, random_log


def test_minimum_history_leaves_items_alone():
    log = filter_log(log_of([1, 2], [3, 1, 2], [2]), min_user_interactions=2)
    assert log.users.ids.tolist() == [1000, 1001]
    assert log.items.tolist() == [1, 2, 3, 1, 2]
    assert (log.counts["users_filtered"], log.counts["items_filtered"], log.counts["interactions_filtered"]) == (
        1,
        0,
        1,
    )


def test_an_item_that_goes_takes_a_user_with_it():
    # Item 3 is met once and goes; user 1 has then one interaction and goes too; item 1 is then met by user 0 alone.
    log = filter_log(log_of([2, 4, 2, 4], [1, 3], items=5), min_user_interactions=2, min_item_interactions=2)
    assert log.users.ids.tolist() == [1000]
    assert log.catalogue.ids.tolist() == [501, 503]  # model ids 2 and 4, now 1 and 2
    assert log.items.tolist() == [1, 2, 1, 2]
    assert log.catalogue.categories.tolist() == [[0], [1], [1], [0]]


def test_the_result_is_a_core():
    log = filter_log(random_log(5, count=60, items=80), 8, 8)
    assert log.lengths.min() >= 8
    assert np.bincount(log.items, minlength=len(log.catalogue) + 1)[1:].min() >= 8


def test_labels_and_times_go_along():
    log = filter_log(log_of([1], [2, 3, 4], labels=True), min_user_interactions=3)
    assert (log.labels.tolist(), log.timestamps.tolist(), log.offsets.tolist()) == ([0, 1, 0], [0, 1, 2], [0, 3])


def test_items_that_nobody_met_go_by_the_item_filter():
    assert filter_log(log_of([2, 2], items=3)).catalogue.ids.tolist() == [501]


def test_a_log_that_passes_is_returned_as_it_is():
    log = log_of([1, 2], [2, 1])
    assert filter_log(log, 2, 2) is log


def test_nothing_left_is_refused_with_the_longest_history():
    with pytest.raises(ValueError, match="9 and 1 leave nothing of 3 interactions; the longest history has 2"):
        filter_log(log_of([1, 2], [1]), 9, 1)


def test_a_minimum_of_zero_is_refused():
    with pytest.raises(ValueError, match="min_item_interactions: expected at least 1, got 0"):
        filter_log(log_of([1]), 1, 0)


def test_a_cap_keeps_the_newest_of_each_user():
    log = cap_histories(log_of([1, 2, 3, 4], [5], [2, 4, 2], labels=True), 2)
    assert (log.items.tolist(), log.labels.tolist(), log.timestamps.tolist()) == (
        [3, 4, 5, 4, 2],
        [1, 0, 1, 0, 0],
        [2, 3, 0, 1, 2],
    )
    assert log.offsets.tolist() == [0, 2, 3, 5]
    assert (log.counts["users_capped"], log.counts["interactions_capped"]) == (2, 3)


def test_a_cap_that_nobody_reaches_returns_the_log_as_it_is():
    log = log_of([1, 2], [1])
    assert cap_histories(log, 2) is log

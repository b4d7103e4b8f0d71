"""The order of training and the held-out part, which a fleet and other languages must reproduce."""

import numpy as np
import pytest

from device_runtime import InputError, heldout_rows, training_schedule
from device_runtime.learning.schedule import mix64

GAMMA = 0x9E3779B97F4A7C15


def mix64_in_python(x):
    """SplitMix64 in Python's unbounded integers."""
    mask = (1 << 64) - 1
    x = (x + GAMMA) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_mix64_gives_the_published_first_values_of_splitmix64_seeded_with_0():
    states = np.array([0, GAMMA], np.uint64)
    assert [hex(value) for value in mix64(states)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_schedule_is_the_sort_by_hash_that_the_protocol_writes_down():
    samples, seed = 7, 3
    for epoch, order in enumerate(training_schedule(samples, batch=3, epochs=2, seed=seed)):
        start = mix64_in_python(seed + (epoch << 32))
        keys = [mix64_in_python((start + row) % 2**64) for row in range(samples)]
        assert order.reshape(-1).tolist() == [*sorted(range(samples), key=keys.__getitem__), -1, -1]


def test_schedule_visits_each_row_once_an_epoch_in_an_order_of_its_own():
    schedule = training_schedule(100, batch=8, epochs=3)
    assert schedule.shape == (3, 13, 8)
    assert schedule.dtype == np.int32
    for epoch in schedule:
        assert sorted(epoch.reshape(-1)[:100]) == list(range(100))
        assert (epoch.reshape(-1)[100:] == -1).all()
    assert (schedule[0] != schedule[1]).any()


@pytest.mark.parametrize(("samples", "steps"), [(0, 0), (1, 1), (3, 1), (4, 1), (5, 2), (11, 3)])
def test_steps_are_samples_over_batch_rounded_up(samples, steps):
    assert training_schedule(samples, batch=4, epochs=2).shape == (2, steps, 4)


@pytest.mark.parametrize("wrong", [{"samples": -1}, {"batch": 0}, {"epochs": 1.5}, {"seed": -1}])
def test_schedule_refuses_what_is_no_count(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        training_schedule(**{"samples": 1, "batch": 1, "epochs": 1, "seed": 0} | wrong)


def test_heldout_are_whole_interactions():
    # 5 interactions of 1, 2, 1, 3 and 2 rows; 0.4 of 5 is 2: the last 3 + 2 rows.
    ids = np.array([0, 1, 1, 2, 5, 5, 5, 9, 9])
    assert heldout_rows(ids, 0.4).tolist() == [False] * 4 + [True] * 5


@pytest.mark.parametrize(("interactions", "count"), [(0, 0), (1, 0), (4, 0), (5, 1), (9, 1), (10, 2)])
def test_heldout_count_is_rounded_down(interactions, count):
    assert heldout_rows(np.arange(interactions), 0.2).sum() == count


def test_the_fraction_counts_as_the_decimal_that_was_meant():
    as_it_travels = float(np.float32(0.7))  # 0.699999988
    assert heldout_rows(np.arange(10), as_it_travels).sum() == heldout_rows(np.arange(10), 0.7).sum() == 7


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.99999999999, np.nan])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(InputError, match="heldout_fraction"):
        heldout_rows(np.arange(3), fraction)

"""The log is bounded, at its old end, and forgets nothing that ranking and drawing still need."""

import numpy as np
import pytest

from device_runtime import Device, InputError, LogLimits
from device_runtime.learning.rows import encode_rows
from device_runtime.log.database import Database
from device_runtime.log.samples import Interaction, SampleLog

DAY = 86_400


def log(tmp_path, **limits):
    tmp_path.mkdir(exist_ok=True)
    return SampleLog(Database(tmp_path / "samples.sqlite"), LogLimits(**limits))


def fill(log, items, skipped=(), length=0, times=None, now=None, train=True):
    for place, item in enumerate(items):
        time = 0 if times is None else times[place]
        log.append([Interaction(item, 1, time, tuple(skipped))], train, length, now)


def test_samples_beyond_the_limit_go_oldest_first_down_to_nine_tenths(tmp_path):
    one = log(tmp_path, samples=10)
    fill(one, range(10))
    assert one.read().items == list(range(10))
    fill(one, [10])
    assert one.read().items == list(range(2, 11))  # 9 of 11 are left


def test_an_interaction_goes_as_a_whole(tmp_path):
    one = log(tmp_path, samples=10)
    fill(one, range(4), skipped=[90, 91])  # 12 rows; 9 would split the second interaction
    assert one.read().items == [1, 90, 91, 2, 90, 91, 3, 90, 91]
    fill(one, [4], skipped=[90])  # 11 rows; the newest 9 begin within the interaction of 1
    assert one.read().items == [2, 90, 91, 3, 90, 91, 4, 90]


def test_the_newest_interaction_stays_however_many_rows_it_has(tmp_path):
    one = log(tmp_path, samples=3)
    fill(one, [1, 2], skipped=range(90, 100))
    assert one.read().items == [2, *range(90, 100)]


def test_cutting_samples_leaves_the_history_and_the_rows_as_they_were(tmp_path):
    bounded, free = log(tmp_path / "a", samples=10), log(tmp_path / "b")
    fill(bounded, range(1, 40), length=5)
    fill(free, range(1, 40), length=5)
    assert bounded.newest(100).items == free.newest(100).items
    some, every = bounded.read(), free.read()
    count = len(some.items)
    assert 9 <= count <= 10
    assert some.items == every.items[-count:]
    assert some.at.tolist() == every.at[-count:].tolist()


def test_the_history_has_a_bound_of_its_own_but_no_less_than_t_and_what_samples_need(tmp_path):
    one = log(tmp_path, samples=10, history=8)
    fill(one, range(50), length=5)
    logged = one.read()
    assert logged.at[0] >= 5  # T interactions lie before the oldest sample
    assert len(one.newest(100).items) <= 10 + 5 + 1
    fill(one, range(50, 70), length=20, train=False)
    assert len(one.newest(100).items) >= 20


def test_samples_grow_old_against_the_newest_interaction(tmp_path):
    one = log(tmp_path, days=10)
    fill(one, range(12), times=[day * DAY for day in range(12)])
    # At day 11 the sample of day 0 is older than 10 days: those older than 9 go.
    assert one.read().items == list(range(2, 12))


def test_a_time_in_the_future_makes_nothing_old(tmp_path):
    one = log(tmp_path, days=10)
    fill(one, [1, 2], times=[0, 10**12], now=5 * DAY)
    assert one.read().items == [1, 2]


def test_a_clock_that_is_ahead_of_imported_interactions_makes_nothing_old(tmp_path):
    one = log(tmp_path, days=10)
    fill(one, [1, 2], times=[0, DAY], now=10**9)
    assert one.read().items == [1, 2]


def test_by_default_age_is_no_bound(device):
    device.log_many([101, 102], timestamps=[0, 1])
    device.log(103)
    assert device.state["log"]["samples"] == 3


def test_what_left_the_history_still_counts_as_met(tmp_path, bundle):
    limits = LogLimits(samples=3, history=3)
    with Device.open(tmp_path / "device", bundle, limits=limits) as device:
        device.rank(range(101, 121), exclude_history=True)
        device.log_many(range(101, 119))
        assert device.history_size < 18
        for _ in range(2):
            ids, _ = device.rank(range(101, 121), exclude_history=True)
            assert sorted(ids) == [119, 120]
            device.log(101)


def test_what_left_the_history_is_not_drawn_as_a_negative(tmp_path, bundle):
    limits = LogLimits(samples=3, history=3)
    with Device.open(tmp_path / "device", bundle, limits=limits) as device:
        for item in range(101, 119):
            device.log(item)
        assert device.history_size < 18
        rows = encode_rows(device._folder.samples.read(), bundle.vocabulary, 5, negatives=4)
        assert set(rows.candidates[rows.labels == 0].tolist()) == {19, 20}


def test_met_items_are_bounded_by_interactions(tmp_path):
    one = log(tmp_path, met=5)
    fill(one, [1, 2, 3, 4, 5, 1, 6, 7])
    assert one.met() == {4, 5, 1, 6, 7}


def test_a_log_is_read_as_it_was_when_a_row_was_its_newest(tmp_path):
    one = log(tmp_path)
    fill(one, [1, 2], skipped=[90])
    before = one.read()
    fill(one, [3, 1], skipped=[91])
    again = one.read(until=before.newest)
    assert (again.items, again.at.tolist(), again.history.items) == (before.items, before.at.tolist(), [1, 2])
    assert sorted(again.met) == sorted(before.met) == [1, 2]
    assert (again.first, again.oldest, again.newest) == (before.first, before.oldest, before.newest) == (1, 1, 4)


def test_a_reset_that_forgets_the_user_leaves_no_trace(tmp_path, bundle_path):
    from protos import dccl_pb2
    from tests.device.bundles import rewritten, successor

    secret = "a title that nobody else has"
    words = dccl_pb2.Vocabulary(string_ids=[secret, *map(str, range(19))])
    path = rewritten(bundle_path, tmp_path / "words", vocabulary=words)
    with Device.open(tmp_path / "device", path) as device:
        device.log(secret)
        device.personalize()
        device.upgrade(successor(path, tmp_path / "next"))
        device.rollback()  # the newer bundle's folder stays, and the state in which it was left
        (tmp_path / "device" / "samples.sqlite.damaged").write_text(secret)
        (tmp_path / "device" / "training.bin.new").write_text(secret)
        (device.bundle.path / "state.bin.new").write_text(secret)  # as a kill may leave it
        device.reset(forget_user=True)
        assert device.state["log"] == {"history": 0, "samples": 0, "sample_interactions": 0}
        assert [event.kind for event in device.events()] == ["reset"]
        assert device.rank([secret], exclude_history=True)[0] == [secret]
        files = [file for file in (tmp_path / "device").iterdir() if file.name.startswith("samples")]
        assert len(files) == 3
        everything = [
            file for file in (tmp_path / "device").rglob("*") if file.is_file() and file.name != "vocabulary.pb"
        ]
        assert not any(secret.encode() in file.read_bytes() for file in everything)
        assert [file.parent.name for file in everything if file.name == "state.bin"] == ["device"]


def test_a_reset_begins_again_and_keeps_the_log(device):
    start = device.vector
    device.log_many([101, 104, 109, 115] * 5, [1, 0, 1, 0] * 5)
    device.personalize()
    device.reset()
    np.testing.assert_array_equal(device.vector, start)
    assert (device.gate, device.state["steps"], device.state["log"]["history"]) == (0.0, 0, 20)


@pytest.mark.parametrize("limits", [{"samples": 0}, {"history": -1}, {"met": 1.5}, {"days": 0}, {"days": np.nan},
                                    {"samples": True}, {"days": "10"}])  # fmt: skip
def test_limits_that_bound_nothing_are_refused(limits):
    (name,) = limits
    with pytest.raises(InputError, match=f"limits.{name}: expected"):
        LogLimits(**limits)


def test_what_no_longer_counts_as_met_may_be_ranked_again_at_once(tmp_path, bundle):
    with Device.open(tmp_path / "device", bundle, limits=LogLimits(met=3)) as device:
        candidates = [101, 102, 103, 104, 105]
        assert device.rank(candidates, exclude_history=True)[0]  # reads what was met
        device.log_many([101, 102, 103])
        device.log_many([104, 102])
        assert set(device.rank(candidates, exclude_history=True)[0]) == {101, 105}

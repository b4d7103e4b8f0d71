"""Packed rows and the batches made of them."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dccl_tf.data.batches import batches, batches_in_order, best_positions, pack, point_rows
from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import Span
from tests.data.logs import log_of, random_log


def span(*bounds):
    return Span(*(np.array(column, np.int64) for column in zip(*bounds, strict=True)))


def epoch_of(rows, log, **choices):
    choices = {"protocol": "liked", "batch_size": 3, "seed": 0, "epoch": 0} | choices
    return [{name: value.numpy() for name, value in batch.items()} for batch in batches(rows, log, **choices)]


def test_pack_by_hand():
    rows = pack(log_of([11, 12, 13, 14, 15], [21]), span((1, 4), (0, 0)), history_length=3, positions=2)
    np.testing.assert_array_equal(rows.items, [[0, 0, 11, 12, 13], [11, 12, 13, 14, 0]])  # 15 is beyond the span
    np.testing.assert_array_equal(rows.weights, [[1, 1], [1, 0]])
    assert (rows.users.tolist(), rows.first.tolist(), rows.labels) == ([0, 0], [1, 3], None)


def test_labels_lie_where_their_items_do():
    rows = pack(log_of([11, 12, 13], labels=True), span((0, 3)), history_length=2, positions=3)
    np.testing.assert_array_equal(rows.labels, [[0, 0, 1, 0, 1]])


def test_pack_of_an_empty_span_has_no_rows():
    rows = pack(log_of([1, 2]), span((1, 1)), 4, 2)
    assert rows.items.shape == (0, 6)


def test_every_position_of_the_span_is_a_sample_once_with_its_own_history():
    log = random_log(0)
    chosen = Span(log.lengths // 3, log.lengths)
    rows = pack(log, chosen, history_length=5, positions=4)
    seen = []
    for row, place in np.argwhere(rows.weights > 0):
        user, position = int(rows.users[row]), int(rows.first[row] + place)
        own = log.items[log.offsets[user] : log.offsets[user + 1]]
        before = own[max(0, position - 5) : position]
        assert rows.items[row, place + 5] == own[position]
        np.testing.assert_array_equal(rows.items[row, place : place + 5], [0] * (5 - len(before)) + before.tolist())
        seen.append((user, position))
    assert seen == [(u, p) for u in range(len(log.users)) for p in range(chosen.start[u], chosen.stop[u])]


def test_an_endless_user_costs_only_the_span():  # C6
    log = log_of(np.arange(1, 1_000_001).tolist())
    rows = pack(log, span((999_990, 1_000_000)), history_length=50, positions=16)
    assert rows.items.shape == (1, 66)
    assert rows.items[0, :51].tolist() == list(range(999_941, 999_992))


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, 1),  # a longer row of one click is the same row with more padding
        (64, 16),  # cost of a row: 10 (49 + S) + 5 S (22 + 0.2 (49 + S)), times 64 / S rows: 13,800 at 16, 13,844 at 32
        (0, 1),
    ],
)
def test_positions_of_a_row_by_cost(length, expected):
    assert best_positions(span((0, length)), history_length=50, candidates=5) == expected


def test_point_rows_are_right_aligned_and_cut_to_the_newest():
    history, labels = point_rows(log_of([1, 2, 3], [4], labels=True), np.array([0, 1, 0]), np.array([3, 0, 1]), 2)
    np.testing.assert_array_equal(history, [[2, 3], [0, 0], [0, 1]])
    np.testing.assert_array_equal(labels, [[0, 1], [0, 0], [0, 1]])


def test_point_rows_refuse_a_position_beyond_the_end():
    with pytest.raises(ValueError, match="positions: expected 0 to 1 for user 1, got 2"):
        point_rows(log_of([1, 2, 3], [4]), np.array([1]), np.array([2]), 2)


def test_liked_batch_by_hand():
    log = log_of([11, 12, 13], labels=True)
    (batch,) = epoch_of(pack(log, span((1, 3)), 2, 2), log, batch_size=1)
    np.testing.assert_array_equal(batch["history"], [[0, 11, 12]])
    np.testing.assert_array_equal(batch["history_labels"], [[0, 1, 0]])
    np.testing.assert_array_equal(batch["candidates"], [[[12], [13]]])
    np.testing.assert_array_equal(batch["targets"], [[[0], [1]]])
    np.testing.assert_array_equal(batch["profile"], [[0]])


def test_the_last_batch_is_filled_up_with_rows_without_weight():
    log = log_of([1], [2], [3], [4], labels=True)
    rows, choices = pack(log, span(*[(0, 1)] * 4), 2, 1), {"protocol": "liked", "batch_size": 3, "seed": 0, "epoch": 0}
    found = list(batches_in_order(rows, log, **choices))
    assert [batch["weights"].ravel().tolist() for batch in found] == [[1, 1, 1], [1, 0, 0]]
    assert found[1]["candidates"].ravel().tolist() == [4, 0, 0]
    assert epoch_of(rows, log)[1]["weights"].ravel().tolist() == [1, 0, 0]


def test_shapes_are_known_beforehand():
    log = random_log(0)
    data = batches(
        pack(log, Span(0 * log.lengths, log.lengths), 5, 4), log, protocol="next", batch_size=8, seed=0, epoch=0,
        negatives=3, sampler=NegativeSampler(log),
    )  # fmt: skip
    assert {name: spec.shape.as_list() for name, spec in data.element_spec.items()} == {
        "history": [8, 8], "profile": [8, 1], "users": [8], "candidates": [8, 4, 4], "targets": [8, 4, 4],
        "weights": [8, 4],
    }  # fmt: skip


def test_nothing_tunes_what_is_fixed():
    """TensorFlow's tuner sleeps for up to a minute at a time, and the end of an epoch may have to wait for it."""
    log = random_log(0, labels=True)
    rows = pack(log, Span(0 * log.lengths, log.lengths), 5, 4)
    assert batches(rows, log, protocol="liked", batch_size=8, seed=0, epoch=0).options().autotune.enabled is False


def test_an_epoch_has_every_row_once():
    log = random_log(0, labels=True)
    rows = pack(log, Span(0 * log.lengths, log.lengths), 5, 4)
    found = epoch_of(rows, log)
    real = np.concatenate([batch["weights"].sum(axis=1) > 0 for batch in found])
    shuffled = np.concatenate([batch["history"] for batch in found])[real]
    assert sorted(map(tuple, shuffled.tolist())) == sorted(map(tuple, rows.items[:, :-1].tolist()))


def next_epoch(log, epoch=0, users=None, make=epoch_of):
    stop = log.lengths if users is None else np.where(np.isin(np.arange(len(log.users)), users), log.lengths, 0)
    rows, sampler = pack(log, Span(0 * stop, stop), 5, 4), NegativeSampler(log, log.lengths)
    return list(make(rows, log, protocol="next", batch_size=3, seed=0, epoch=epoch, sampler=sampler))


def test_next_puts_the_true_item_first_and_untouched_ones_behind():
    log = random_log(0)
    for batch in next_epoch(log):
        for row, place in np.argwhere(batch["weights"] > 0):
            user = batch["users"][row]
            own = log.items[log.offsets[user] : log.offsets[user + 1]]
            true, *drawn = batch["candidates"][row, place].tolist()
            assert true in own
            assert not set(drawn) & {0, *own.tolist()}
            assert batch["targets"][row, place].tolist() == [1, 0, 0, 0, 0]


def test_one_seed_and_epoch_give_the_same_batches():
    log = random_log(0)
    for first, second in zip(next_epoch(log, 3), next_epoch(log, 3), strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_another_epoch_has_another_order_and_other_negatives():
    log = random_log(0)
    assert any((a["users"] != b["users"]).any() for a, b in zip(next_epoch(log, 0), next_epoch(log, 1), strict=True))
    first, second = (next_epoch(log, epoch, make=batches_in_order)[0] for epoch in (0, 1))
    np.testing.assert_array_equal(first["candidates"][..., 0], second["candidates"][..., 0])
    assert (first["candidates"][..., 1:] != second["candidates"][..., 1:]).any()


def test_a_users_samples_are_the_same_without_the_other_users():
    log = random_log(0)

    def samples(found, user):
        kept = [
            (batch["candidates"][batch["users"] == user], batch["weights"][batch["users"] == user]) for batch in found
        ]
        return np.concatenate([candidates[weights > 0] for candidates, weights in kept])

    alone, everyone = (next_epoch(log, users=users, make=batches_in_order) for users in ([7], None))
    np.testing.assert_array_equal(samples(alone, 7), samples(everyone, 7))


def test_batches_are_divided_among_replicas():
    """Two logical CPUs must be asked for before TensorFlow starts, hence a process of its own."""
    program = textwrap.dedent("""
        import tensorflow as tf
        from dccl_tf.data.batches import batches, pack
        from dccl_tf.data.schema import Span
        from tests.data.logs import random_log

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        log = random_log(0, labels=True)
        rows = pack(log, Span(0 * log.lengths, log.lengths), 5, 4)
        data = batches(rows, log, protocol="liked", batch_size=4, seed=0, epoch=0)
        total = 0.0
        for batch in strategy.experimental_distribute_dataset(data):
            parts = strategy.experimental_local_results(batch["weights"])
            assert [part.shape for part in parts] == [(2, 4), (2, 4)], parts
            total += sum(float(tf.reduce_sum(part)) for part in parts)
        assert total == len(log.items), total
    """)
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"protocol": "nxt"}, "protocol: expected 'next' or 'liked', got 'nxt'"),
        ({"protocol": "next"}, "sampler: protocol 'next' expects"),
        ({"protocol": "liked"}, "labels"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(choices, message):
    log = random_log(0)
    with pytest.raises(ValueError, match=message):
        epoch_of(pack(log, Span(0 * log.lengths, log.lengths), 5, 4), log, **choices)


@pytest.mark.parametrize("protocol", ["next", "liked"])
def test_batches_in_order_have_the_same_rows_in_the_order_of_the_log(protocol):
    log = random_log(4, labels=True)
    rows = pack(log, Span(log.lengths // 2, log.lengths), history_length=5, positions=4)
    choices = {"protocol": protocol, "seed": 3, "epoch": 1, "batch_size": 7}
    if protocol == "next":
        choices["sampler"] = NegativeSampler(log)
    ours, shuffled = (
        {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}
        for found in (list(batches_in_order(rows, log, **choices)), epoch_of(rows, log, **choices))
    )
    assert len(ours["users"]) == -(-len(rows) // 7) * 7
    np.testing.assert_array_equal(ours["users"][: len(rows)], rows.users)
    np.testing.assert_array_equal(ours["history"][: len(rows)], rows.items[:, :-1])
    # Each row, with all that belongs to it, is found among the shuffled ones.
    by_row = [
        {tuple(np.concatenate([found[name][i].ravel() for name in ours]).tolist()) for i in range(len(ours["users"]))}
        for found in (ours, shuffled)
    ]
    assert by_row[0] == by_row[1]
    assert {name: one.dtype for name, one in ours.items()} == {name: one.dtype for name, one in shuffled.items()}

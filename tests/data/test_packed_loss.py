"""M3: packing positions of a user into rows changes how samples are computed, not what is learned from them."""

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.data.batches import batches, pack, point_rows
from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import Span
from dccl_tf.data.sequences import sorted_log
from dccl_tf.losses import cross_entropy, weighted_sum
from tests.models import small

LENGTHS = (9, 1, 6)  # 9 positions fill three rows of 4, 1 and 6 fill one and two
CHOICES = {"seed": 3, "epoch": 1}


@pytest.fixture
def log():
    owners = np.repeat(np.arange(3), LENGTHS)
    items = np.random.default_rng(0).integers(1, small.V + 1, len(owners))
    times = np.arange(len(owners))
    return sorted_log(owners, items, times, items % 2, users=small.users(3), catalogue=small.catalogue())


def one_at_a_time(cloud, log, labels, sampler=None):
    """Mean loss over samples, each computed alone from its own T items."""
    losses = []
    for user, length in enumerate(LENGTHS):
        for position in range(length):
            at = log.offsets[user] + position
            history, marks = point_rows(log, np.array([user]), np.array([position]), small.T)
            candidates, targets = [log.items[at]], [log.labels[at]]
            if sampler:
                drawn = sampler.draw_for(np.array([user]), np.array([position]), 4, **CHOICES)[0]
                candidates, targets = [log.items[at], *drawn], [1, 0, 0, 0, 0]
            for candidate, target in zip(candidates, targets, strict=True):
                point = {"history": history, "candidates": np.array([[candidate]])}
                point |= {"profile": log.users.profile[[user]]} | ({"history_labels": marks} if labels else {})
                point = {name: tf.constant(value, tf.int32) for name, value in point.items()}
                losses.append(float(cross_entropy(cloud(point), tf.constant([[target]], tf.float32))[0, 0]))
    return np.mean(losses)


def packed(cloud, log, **choices):
    """The same mean from batches of 4 rows; the last batch is filled up."""
    rows = pack(log, Span(np.zeros(3, np.int64), log.lengths), small.T, positions=4)
    total, weight = 0.0, 0.0
    for batch in batches(rows, log, batch_size=4, **CHOICES, **choices):
        sums = weighted_sum(cross_entropy(cloud(batch), batch["targets"]), batch["weights"])
        total, weight = total + float(sums[0]), weight + float(sums[1])
    return total / weight


def test_liked_loss_of_packed_rows_is_the_loss_one_sample_at_a_time(log):
    cloud = small.cloud(history_labels=True)
    assert packed(cloud, log, protocol="liked") == pytest.approx(one_at_a_time(cloud, log, labels=True), abs=1e-6)


def test_next_loss_of_packed_rows_is_the_loss_one_sample_at_a_time(log):
    cloud, sampler = small.cloud(), NegativeSampler(log)
    expected = one_at_a_time(cloud, log, labels=False, sampler=sampler)
    assert packed(cloud, log, protocol="next", sampler=sampler) == pytest.approx(expected, abs=1e-6)

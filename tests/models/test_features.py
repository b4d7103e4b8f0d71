"""Item vectors: the two ways of looking them up give the same values and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.models import features
from tests.models import small


@pytest.mark.parametrize("categories", [True, False])
def test_many_ids_get_the_vectors_and_gradients_that_few_get(categories):
    """30 items: 40 ids go by way of the table, the same ids in four parts do not."""
    cloud = small.cloud()
    items = cloud.din.items
    if not categories:
        items.categories = 0
    ids = tf.constant(np.random.default_rng(0).integers(0, small.V + 2, (4, 10)), tf.int32)
    weights = tf.constant(np.random.default_rng(1).normal(size=(4, 10, items.width)), tf.float32)
    found = []
    for parts in ([ids], tf.unstack(ids)):
        with tf.GradientTape() as tape:
            vectors = tf.reshape(tf.stack([items(part) for part in parts]), weights.shape)
            total = tf.reduce_sum(vectors * weights)
        variables = [items.ids.value, items.names.value][: 2 if categories else 1]
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(total, variables)]
        found.append([vectors, *gradients])
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_few_and_many_categories_have_one_mean(monkeypatch):
    items = small.cloud().din.items
    ids = tf.range(small.V + 2)
    product = items(ids)
    monkeypatch.setattr(features, "_MANY_CATEGORIES", 0)
    np.testing.assert_allclose(items(ids), product, atol=1e-6)


def test_padding_gets_no_gradient():
    items = small.cloud().din.items
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(items(tf.zeros([50], tf.int32)) ** 2 + items(tf.zeros([50], tf.int32)))
    for gradient in tape.gradient(total, [items.ids.value, items.names.value]):
        np.testing.assert_array_equal(tf.convert_to_tensor(gradient), 0.0)

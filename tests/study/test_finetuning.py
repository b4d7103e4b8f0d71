"""What a device could train instead: each way is checked against the model that it changes."""

import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.study.finetuning import as_free_patches, fine_tuned, free_patches
from tests.models import small


@pytest.fixture
def cloud():
    return small.cloud()


def test_free_patches_of_a_metapatch_are_its_patches(cloud):
    """A basis generates R * (2 F + 1) + F parameters at each junction; those, set free, give the same logits."""
    theta = np.random.default_rng(0).normal(size=(4, cloud.metapatch.length)).astype(np.float32)
    inputs, free = small.packed(seed=0, rows=4), free_patches(cloud)
    vectors = as_free_patches(cloud, theta)
    widths, narrow = cloud.metapatch.widths, cloud.metapatch.bottlenecks
    assert vectors.shape == (4, sum(r * (2 * f + 1) + f for f, r in zip(widths, narrow, strict=True)))
    assert free.metapatch.length == vectors.shape[1]
    np.testing.assert_allclose(free(inputs, theta=tf.constant(vectors)), cloud(inputs, theta=theta), atol=1e-5)


@pytest.mark.parametrize("layers", ["last", "head"])
def test_no_change_is_f_and_a_change_is_that_of_the_weights(cloud, layers):
    inputs, tuned = small.packed(seed=1, rows=4), fine_tuned(cloud, layers)
    change = 0.1 * np.random.default_rng(1).normal(size=tuned.metapatch.length).astype(np.float32)
    rows = np.stack([0 * change, change, change, 2 * change])
    found = tuned(inputs, theta=tf.constant(rows)).numpy()
    np.testing.assert_allclose(found[0], cloud(inputs)[0], atol=1e-5)
    half = tuned(inputs, theta=tf.constant(rows), gate=tf.constant([1.0, 0.0, 1.0, 0.5])).numpy()
    np.testing.assert_allclose(half[1], cloud(inputs)[1], atol=1e-5)
    changes = tuned.metapatch(tf.constant(change))
    for layer, (kernel, bias) in zip([*tuned.din.layers_above, tuned.din.logit][-len(changes) :], changes, strict=True):
        layer.kernel.assign_add(kernel)
        layer.bias.assign_add(bias)
    moved = tuned(inputs).numpy()
    np.testing.assert_allclose(found[1:3], moved[1:3], atol=1e-4)
    np.testing.assert_allclose(half[3], moved[3], atol=1e-4)


def test_parameters_of_the_last_layer(cloud):
    assert fine_tuned(cloud, "last").metapatch.length == cloud.din.config.hidden[-1] + 1
    with pytest.raises(ValueError, match="layers: expected one of last, head, got 'all'"):
        fine_tuned(cloud, "all")

"""FM against the sum over all pairs of fields."""

from itertools import combinations

import numpy as np

from dccl_tf.models import Fm
from dccl_tf.models.fields import merged
from tests.models import contract


def test_merged_by_hand():
    rows = np.array([[1.0, 2.0, 0.5], [3.0, 0.0, 0.25], [-1.0, 4.0, 0.0]], np.float32)  # vectors of 2, weights last
    # Pairs: (1, 2)(3, 0) = 3, (1, 2)(-1, 4) = 7, (3, 0)(-1, 4) = -3.
    np.testing.assert_allclose(merged(rows), [3.0, 6.0, 0.75 + 3.0 + 7.0 - 3.0])


def test_logits_equal_the_sum_over_pairs():
    model, batch = contract.build(Fm, width=6), contract.packed()
    logits = model(batch).numpy()
    for place, user, profile, item in contract.each(batch):
        rows = contract.user_rows(model.user_fields, user, profile) + contract.item_rows(model.item_fields, item)
        assert len(rows) == 5  # user, two profile fields, item, categories
        expected = float(model.bias) + sum(row[-1] for row in rows)
        expected += sum(a[:-1] @ b[:-1] for a, b in combinations(rows, 2))
        np.testing.assert_allclose(logits[place], expected, atol=1e-5)

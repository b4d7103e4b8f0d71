"""DeepFM against its formula: FM and a tower on the same vectors."""

from itertools import combinations

import numpy as np

from dccl_tf.models import DeepFm
from tests.models import contract


def test_logits_equal_the_formula():
    model, batch = contract.build(DeepFm, width=6, hidden=(8, 5)), contract.packed()
    logits = model(batch).numpy()
    for place, user, profile, item in contract.each(batch):
        of_user = contract.user_rows(model.user_fields, user, profile)
        of_item = contract.item_rows(model.item_fields, item)
        rows = of_user + of_item
        expected = sum(row[-1] for row in rows) + sum(a[:-1] @ b[:-1] for a, b in combinations(rows, 2))
        deep = contract.tower(
            model.tower, np.concatenate([row[:-1] for row in of_user]), np.concatenate([row[:-1] for row in of_item])
        )
        np.testing.assert_allclose(logits[place], expected + contract.dense(model.logit, deep)[0], atol=1e-5)

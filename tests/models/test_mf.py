"""MF against its formula."""

import numpy as np

from dccl_tf.models import Mf
from dccl_tf.models.recommender import DataSizes
from tests.models import contract


def test_one_logit_by_hand():
    model = Mf(DataSizes(users=1, items=1), width=2)
    model.bias.assign(0.5)
    model.user_fields.ids.assign([[1.0, 2.0, 0.25], [0.0, 0.0, 0.0]])  # vector (1, 2), bias 0.25
    model.item_fields.ids.assign([[9.0, 9.0, 9.0], [3.0, -1.0, 4.0], [9.0, 9.0, 9.0]])  # vector (3, -1), bias 4
    logits = model({"users": np.array([0]), "candidates": np.array([[1, 2]])})
    np.testing.assert_allclose(logits, [[0.5 + 0.25 + 4.0 + (3.0 - 2.0), 0.5 + 0.25]])  # item 2 is no item


def test_logits_equal_the_formula():
    model, batch = contract.build(Mf, width=6), contract.packed()
    logits = model(batch).numpy()
    for place, user, profile, item in contract.each(batch):
        (u,), (i,) = contract.user_rows(model.user_fields, user, profile), contract.item_rows(model.item_fields, item)
        expected = float(model.bias) + u[-1] + i[-1] + u[:-1] @ i[:-1]
        np.testing.assert_allclose(logits[place], expected, atol=1e-5)

"""NeuMF against its formula, He et al. (2017), Eq. 12."""

import numpy as np

from dccl_tf.models import NeuMf
from tests.models import contract


def test_logits_equal_the_formula():
    model, batch = contract.build(NeuMf, width=6, hidden=(8, 5)), contract.packed()
    logits = model(batch).numpy()
    for place, user, profile, item in contract.each(batch):
        (u,), (i,) = contract.user_rows(model.user_fields, user, profile), contract.item_rows(model.item_fields, item)
        both = np.concatenate([u[:6] * i[:6], contract.tower(model.tower, u[6:], i[6:])])
        np.testing.assert_allclose(logits[place], contract.dense(model.logit, both)[0], atol=1e-5)
    read = {name: batch[name] for name in ("users", "candidates")}
    np.testing.assert_array_equal(model(read), logits)

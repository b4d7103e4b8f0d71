"""RecBole's part of `against_recbole`, run in RecBole's own environment: a case in, logits out.

python recbole_side.py case.npz logits.npy
"""

import importlib
import json
import logging
import sys
from collections import defaultdict
from typing import Any

import numpy as np
import torch

np.long = np.int64  # RecBole 1.2.1 still uses the name, which NumPy 1.24 to 1.26 do not have
from recbole.utils import FeatureType  # noqa: E402

FIELDS = {"user_id": "TOKEN", "age": "TOKEN", "job": "TOKEN", "item_id": "TOKEN", "class": "TOKEN_SEQ"}
NAMES = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "LABEL_FIELD": "label",
    "NEG_PREFIX": "neg_",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "device": "cpu",
}


class Sizes:
    """What RecBole's models ask of a data set: its fields, their types and numbers of values."""

    field2type = {name: FeatureType[kind] for name, kind in FIELDS.items()}  # noqa: RUF012

    def __init__(self, sizes: dict[str, int]) -> None:
        self.num = sizes.__getitem__

    def fields(self, source: Any = None) -> list[str]:
        return list(FIELDS)


def main(given: str, answer: str) -> None:
    logging.disable()
    with np.load(given) as case:
        words = json.loads(str(case["words"]))
        arrays = {name: case[name] for name in case.files if name != "words"}
    weights = {k.removeprefix("weight/"): torch.tensor(v) for k, v in arrays.items() if k.startswith("weight/")}
    inputs = {k.removeprefix("input/"): torch.tensor(v).long() for k, v in arrays.items() if k.startswith("input/")}
    module, name = words["class"].rsplit(".", 1)
    config = defaultdict(lambda: None, NAMES | words["config"])
    kind = getattr(importlib.import_module(f"recbole.model.{module}"), name)
    model = kind(config, Sizes({"user_id": 51, "age": 4, "job": 5, "item_id": 202, "class": 8}))
    model.load_state_dict(weights, strict=True)
    model.eval()
    with torch.no_grad():
        if name == "SASRec":
            # Ours scales the rows of items by the root of their width before the first norm; the norm takes that out
            # again but for its epsilon.
            model.LayerNorm.eps /= config["hidden_size"]
            logits = model.predict(inputs)
        elif name == "BPR":
            logits = model.predict(inputs)
        elif name == "NeuMF":
            logits = model(inputs["user_id"], inputs["item_id"])
        else:
            logits = model(inputs)
    np.save(answer, logits.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])

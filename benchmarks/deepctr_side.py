"""DeepCTR's part of `against_deepctr`, run in DeepCTR's own environment: weights and inputs in, logits out.

python deepctr_side.py case.npz logits.npy
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # DeepCTR 0.9.4 knows Keras 2 alone

import numpy as np
import tensorflow as tf
from deepctr.feature_column import SparseFeat, VarLenSparseFeat
from deepctr.models import DIN

FEATURES = ("age", "job", "item", "class")


def main() -> None:
    case = dict(np.load(sys.argv[1]))
    inputs = {name.removeprefix("input/"): value for name, value in case.items() if name.startswith("input/")}
    tables = {name: case[f"table/{name}"] for name in FEATURES}
    columns = [SparseFeat(name, *tables[name].shape) for name in FEATURES]
    for name in ("item", "class"):
        rows, width = tables[name].shape
        feature = SparseFeat(f"hist_{name}", rows, width, embedding_name=name)
        columns.append(VarLenSparseFeat(feature, maxlen=inputs["hist_item"].shape[1]))
    sizes = [case[f"dense{place}/kernel"].shape[1] for place in range(2)]
    hidden = tuple(case["hidden"].tolist())
    model = DIN(columns, ["item", "class"], dnn_hidden_units=hidden, att_hidden_size=sizes, att_activation="sigmoid")
    left = {f"sparse_seq_emb_hist_{name}": tables[name] for name in ("item", "class")}
    left |= {f"sparse_emb_{name}": tables[name] for name in FEATURES}
    for layer in model.layers:
        if layer.name in left:
            layer.set_weights([left.pop(layer.name)])
        elif layer.name.startswith("attention_sequence"):
            unit = layer.local_att
            unit.dnn.set_weights([*_ordered(case, ("dense0", "dense1"))])
            unit.kernel.assign(case["dense2/kernel"])
            unit.bias.assign(case["dense2/bias"])
        elif layer.name.startswith("dnn"):
            layer.set_weights(_ordered(case, ("first", *(f"dense{place}" for place in range(3, 2 + len(hidden))))))
        elif layer.name.startswith("dense"):
            layer.set_weights([case[f"dense{2 + len(hidden)}/kernel"]])
        elif layer.name.startswith("prediction"):
            layer.set_weights([case[f"dense{2 + len(hidden)}/bias"]])
    logits = tf.keras.Model(model.inputs, model.layers[-1].input)
    np.save(sys.argv[2], logits.predict(inputs, verbose=0)[:, 0] + case[f"dense{2 + len(hidden)}/bias"])


def _ordered(case: dict[str, np.ndarray], names: tuple[str, ...]) -> list[np.ndarray]:
    """Weights of layers as DeepCTR's DNN lists them: all kernels, then all biases."""
    return [case[f"{name}/{part}"] for part in ("kernel", "bias") for name in names]


if __name__ == "__main__":
    main()

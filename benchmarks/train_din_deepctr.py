"""DeepCTR's part of `train_din`, run in DeepCTR's own environment: a case in, figures out.

python train_din_deepctr.py case.npz figures.json
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # DeepCTR 0.9.4 knows Keras 2 alone

import numpy as np
import tensorflow as tf
from deepctr.feature_column import SparseFeat, VarLenSparseFeat
from deepctr.models import DIN
from train_din_case import Case, repeat

ATTENTION = (80, 40)  # DeepCTR's default


def main() -> None:
    case = Case(sys.argv[1])
    settings = case.settings
    tf.config.threading.set_intra_op_parallelism_threads(settings["cores"])
    rows, width, length = settings["items"] + 2, settings["width"], settings["history_length"]
    columns = [
        SparseFeat("item", rows, embedding_dim=width),
        VarLenSparseFeat(
            SparseFeat("hist_item", rows, embedding_dim=width, embedding_name="item"), maxlen=length
        ),
    ]  # fmt: skip
    model = DIN(columns, ["item"], dnn_hidden_units=tuple(settings["hidden"]), att_hidden_size=ATTENTION)
    # The constructor is tf_keras's current Adam; its legacy one is no faster.
    model.compile(tf.keras.optimizers.Adam(settings["learning_rate"]), "binary_crossentropy")
    batches = [
        ({"item": candidate, "hist_item": history}, target) for history, candidate, target in case.batches()
    ]  # fmt: skip

    def train() -> float:
        losses = [model.train_on_batch(inputs, target) for inputs, target in batches]
        return float(np.average(losses, weights=[len(target) for _, target in batches]))

    def logits() -> np.ndarray:
        history, candidate, _ = case.samples("test_")
        chance = model.predict({"item": candidate, "hist_item": history}, batch_size=1024, verbose=0)
        chance = chance.ravel().astype(np.float64).clip(1e-7, 1 - 1e-7)
        return np.log(chance / (1 - chance))

    repeat(case, train, logits, case.flops_of_activation_unit(ATTENTION))


if __name__ == "__main__":
    main()

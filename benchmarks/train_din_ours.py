"""This package's part of `train_din`, all that an epoch needs: a case in, figures out.

python train_din_ours.py case.npz figures.json
"""

import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from train_din_case import Case, Clock, products, write

sys.path.insert(0, str(Path(__file__).parents[1]))

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Span, Users
from dccl_tf.pretrain import data_loss
from dccl_tf.trainer import TrainConfig, fit
from dccl_tf.training_data import TrainingData


def main() -> None:
    case = Case(sys.argv[1])
    settings = case.settings
    data = training_data(case)
    tf.keras.utils.set_random_seed(0)
    cloud = CloudModel.for_data(
        data.log.catalogue,
        data.log.users,
        history_length=settings["history_length"],
        item_width=settings["width"],
        hidden=tuple(settings["hidden"]),
        dropout=0.0,
    )
    clock, scores = Clock(), []

    def judge() -> float:
        if not scores:
            profile = np.zeros((len(case.arrays["test_history"]), 1), np.int32)
            names = {name: case.arrays[f"test_{name}"] for name in ("history", "candidates")}
            scores.append(cloud.logits(names | {"profile": profile}).numpy().ravel())
        clock.mark()
        return 0.0

    clock.mark()
    history = fit(
        cloud,
        cloud.din.trainable_variables,
        data_loss(cloud),
        lambda epoch: data(0).take(settings["steps"]),
        TrainConfig(epochs=1 + settings["repeats"], learning_rate=settings["learning_rate"], patience=0),
        steps=settings["steps"],
        validate=judge,
    )
    write(case, clock, history.loss[0], scores[0], flops(case), matrix_flops=matrix_flops())


def training_data(case: Case) -> TrainingData:
    arrays, settings = case.arrays, case.settings
    count, items = len(arrays["log_offsets"]) - 1, settings["items"]
    log = InteractionLog(
        items=arrays["log_items"],
        timestamps=np.arange(len(arrays["log_items"])),
        labels=None,
        offsets=arrays["log_offsets"],
        users=Users(np.arange(count), np.zeros((count, 1), np.int32), (ProfileField("none"),)),
        catalogue=Catalogue(np.arange(items), np.zeros((items + 2, 0), np.int32), ()),
    )
    names = ("positions", "batch_rows", "negatives")
    sizes = {name: settings[name] for name in names}
    return TrainingData(log, Span(*arrays["span"]), "next", settings["history_length"], **sizes)


def flops(case: Case) -> float:
    """Operations of the matrix products of a pass: forward, and twice that backward."""
    settings = case.settings
    width, window, places = settings["width"], settings["history_length"], settings["positions"]
    length = window + places - 1
    samples = places * (1 + settings["negatives"])
    keys_and_values = 2 * length * width * width
    a_sample = width * width + 2 * (length + 1) * width + products([3 * width, *settings["hidden"], 1])
    return 3 * 2 * (keys_and_values + samples * a_sample) * settings["batch_rows"] * settings["steps"]


def matrix_flops(size: int = 2048) -> float:
    """Operations a second of large matrix products, the best of some."""
    product = tf.function(lambda a, b: tf.matmul(a, b))
    matrix = tf.random.normal([size, size])
    product(matrix, matrix)
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        product(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 / min(seconds)


if __name__ == "__main__":
    main()

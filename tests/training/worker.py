"""One of several workers that train together, as a program: `tests.training.test_distribution` starts them.

python -m tests.training.worker FOLDER EPOCHS [EPOCH IN WHICH IT DIES]
"""

import os
import signal
import sys
from pathlib import Path

from dccl_tf.distribution import is_chief, lost_workers_told, worker_strategy

if __name__ == "__main__":
    strategy = worker_strategy()

import numpy as np

from tests.models import small
from tests.training.test_trainer import batches, train


def run(folder: Path, epochs: int, dies: int | None = None):
    """Trains the small model; `validate` sees weights that all workers share, and only the chief asks."""

    def data(epoch):
        if epoch == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return batches(epoch)

    asked = []

    def validate() -> float:
        asked.append(True)
        return float(np.abs(cloud.din.logit.kernel.numpy()).sum())

    cloud = small.cloud(dropout=0.0)
    history = train(cloud, epochs, data=data, validate=validate, checkpoint_dir=folder / "checkpoints")
    return cloud, history, len(asked)


if __name__ == "__main__":
    place, length, *rest = sys.argv[1:]
    with strategy.scope(), lost_workers_told(strategy):
        model, found, validations = run(Path(place), int(length), *map(int, rest))
    assert bool(validations) == is_chief(strategy)
    rank = strategy.cluster_resolver.task_id
    np.savez(Path(place) / f"{rank}.npz", *model.get_weights(), found.loss, found.validation)

"""How many cores TensorFlow shares one operation between.

By default all of them. The operations of a model as small as a phone's are so short that to wake another core costs
more than it saves: on 2 cores DIN of 32 floats an item learns 1.2 to 1.5 times as fast, and beside vectors faster
still, when each operation stays on one core and several run at once (docs/trainer.md).
"""

import os

import tensorflow as tf

SMALL = 64 * 1024  # floats of width times clicks of a batch, up to which an operation is quicker on one core


def suit(width: int, batch_positions: int) -> None:
    """Keeps each operation on one core where the model is small. TF_NUM_INTRAOP_THREADS, where set, decides instead.

    Args:
      width: of the item vectors.
      batch_positions: clicks of a batch.
    """
    if width * batch_positions > SMALL or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has computed something in this process, and keeps the threads that it has
        return

"""Training on several machines: the same steps as on one, with each batch's rows split among them.

Every worker runs the same program with its own TF_CONFIG:

    TF_CONFIG='{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'

    strategy = worker_strategy()             # first of all: before any tensor is made
    with strategy.scope():
        ...                                  # make or load the model, and call `trainer.fit`

Global batch i of an epoch is the same for any number of workers; worker w computes the w-th part of its rows. The first
worker is the chief: it validates, writes checkpoints and logs, and what it found counts for all.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging


def worker_strategy() -> tf.distribute.Strategy:
    """What TF_CONFIG asks for: a MultiWorkerMirroredStrategy if it names several workers, else one process.

    Keras's own `fit` fails under this strategy (keras#20585); `trainer.fit`, with its own loop, does not.

    Raises:
      ValueError: TF_CONFIG is not as above.
    """
    workers = _workers(os.environ.get("TF_CONFIG", ""))
    if workers == 1:
        return tf.distribute.get_strategy()
    logging.info("Waiting for all %d workers of TF_CONFIG to start; kill -9 ends the wait", workers)
    return tf.distribute.MultiWorkerMirroredStrategy()


def _workers(text: str) -> int:
    """Number of workers in a TF_CONFIG."""
    if not text:
        return 1
    expected = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        members = {kind: [_address(one) for one in list(cluster[kind])] for kind in cluster}
        fits = 0 <= task["index"] < len(members[task["type"]])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG: expected {expected}, got {text[:200]!r} ({error!r})") from error
    if not fits or members.keys() - {"worker", "chief"}:
        raise ValueError(f"TF_CONFIG: expected one of its own workers, such as {expected}, got {text[:200]!r}")
    return sum(map(len, members.values()))


def _address(text: str) -> str:
    """host:port, or ValueError: TensorFlow would wait for ever for one that cannot be."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"expected host:port, got {text!r}")
    return text


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (resolver.task_id == 0 and "chief" not in resolver.cluster_spec().as_dict())


@contextmanager
def lost_workers_told(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Inside, an error because another worker is gone is a ConnectionError that says what to do."""
    try:
        yield
    except tf.errors.OpError as error:
        if strategy.cluster_resolver is None or "Collective ops is aborted" not in error.message:
            raise
        raise ConnectionError(
            "TF_CONFIG: expected all workers to stay, lost one; start all of them again, and with the same work_dir "
            "they go on from the last finished epoch"
        ) from error


def split(strategy: tf.distribute.Strategy, batches: tf.data.Dataset) -> Any:
    """Global batches as the strategy's: each replica gets an equal part of the rows, in order."""
    options = tf.data.Options()
    # By rows, not by files: TensorFlow would try the latter first, and warn.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return strategy.experimental_distribute_dataset(batches.with_options(options))


def of_chief(strategy: tf.distribute.Strategy, value: float) -> float:
    """The chief's value, for all workers; every worker must call it."""
    if strategy.num_replicas_in_sync == 1:
        return value

    @tf.function
    def first(mine: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        counts = tf.equal(context.replica_id_in_sync_group, 0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(counts, mine, 0.0))

    found = strategy.run(first, args=(tf.constant(value, tf.float64),))
    return float(np.asarray(strategy.experimental_local_results(found)[0]))

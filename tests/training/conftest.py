"""A small log, cloud model and its samples, for whatever learns beside users' vectors."""

import numpy as np
import pytest

from dccl_tf.data.schema import Span
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.run_config import DcclConfig, training_data, untrained

CONFIG = DcclConfig(protocol="liked", history_length=8, metapatch_length=4, dropout=0.0)
USERS = 30


@pytest.fixture(scope="module")
def log():
    return synthetic_log(1, users=USERS, items=80, shortest=20, mean_length=25, longest=30)[0]


@pytest.fixture
def cloud(log):
    return untrained(log, CONFIG)


@pytest.fixture
def data(log):
    return training_data(log, CONFIG, Span(np.zeros(USERS, np.int64), np.full(USERS, 20)), seed=0)

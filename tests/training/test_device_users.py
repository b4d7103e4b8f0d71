"""From the ids of phones to the users of a log."""

from dataclasses import replace

import numpy as np
import pytest

from dccl_tf.device_users import of_users, read_device_users
from dccl_tf.vectors import UploadedVectors
from tests.data.logs import log_of

USERS = replace(log_of([1], [2], [3]).users, ids=np.array([10, 7, 30]))


def uploaded(samples: dict[str, int]) -> UploadedVectors:
    count = len(samples)
    numbers = np.arange(count, dtype=np.float32)
    return UploadedVectors(
        device_ids=list(samples),
        vectors=np.stack([numbers, -numbers], axis=1),
        samples=np.array(list(samples.values()), np.int64),
        gates=numbers,
        cloud_loss=numbers.astype(float),
        personal_loss=numbers.astype(float),
        sequences=np.arange(count) + 5,
    )


def test_a_vector_finds_its_user_by_the_user_s_own_id():
    """Phone c is of user 10, who is number 0; a and d are of 30, number 2, and d has more samples; b is of nobody."""
    owners = {"a": "30", "b": "8", "c": "10", "d": "30"}
    found = of_users(uploaded({"a": 3, "b": 9, "c": 1, "d": 4, "e": 2}), owners, USERS)
    assert found.device_ids == ["user-0", "user-2"]
    np.testing.assert_array_equal(found.vectors, [[2, -2], [3, -3]])
    np.testing.assert_array_equal(found.samples, [1, 4])
    np.testing.assert_array_equal(found.sequences, [7, 0])  # the numbers of two phones say nothing of each other
    assert len(of_users(uploaded({"b": 9}), owners, USERS)) == 0


def test_tables_are_read_as_text_and_their_faults_are_named(tmp_path):
    table = tmp_path / "devices.csv"
    table.write_text("user,device_id,since\n007,a,1\n10,b,2\n")
    assert read_device_users(table) == {"a": "007", "b": "10"}
    table.write_text("user,device\n7,a\n")
    with pytest.raises(ValueError, match=r"devices.csv: expected a column 'device_id', got user, device"):
        read_device_users(table)
    table.write_text("user,device_id\n7,a\n8,a\n")
    with pytest.raises(ValueError, match="line 3, column 'device_id': expected one user a device, got 'a'"):
        read_device_users(table)

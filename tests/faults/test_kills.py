"""A device that is killed (SIGKILL) in the middle of things; benchmarks/faults/kills.py does it hundreds of times."""

import os

import pytest

from benchmarks.faults import killing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")


def test_nothing_acknowledged_is_lost_and_no_state_is_unreadable(tmp_path, bundle_path, next_path):
    found = killing.study(tmp_path, [bundle_path, next_path], kills=range(20), seed=1)
    assert sum(found["killed_during"].values()) == sum(found["found"].values()) == 20
    assert found["acknowledged"]["interactions"] > 20

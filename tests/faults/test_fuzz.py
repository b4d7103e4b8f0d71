"""A device that is given damaged files and hostile arguments; benchmarks/faults/fuzz.py does it thousands of times."""

import random

import pytest

from benchmarks.faults import fuzzing
from benchmarks.faults.mutations import damaged
from benchmarks.faults.targets import CONTROLS, TARGETS

CASES = 25  # of each target


@pytest.mark.parametrize("target", TARGETS)
def test_no_crash_no_hang_no_silence_and_our_errors_alone(bundle_path, target):
    result = fuzzing.fuzz(bundle_path, target, CASES)
    assert fuzzing.by_reason(result["failures"]) == {}
    assert sum(result["outcomes"].values()) == CASES


@pytest.mark.parametrize("fault", CONTROLS)
def test_the_fuzzer_notices(bundle_path, fault):
    (failure,) = fuzzing.fuzz(bundle_path, fault, cases=1, patience=2.0)["failures"]
    assert (failure["what"], failure["case"]) == (fault, 0)


def test_damage_is_the_same_again_and_does_damage():
    content = bytes(range(256))
    once, again = ([damaged(content, random.Random(seed)) for seed in range(100)] for _ in range(2))
    assert once == again
    assert sum(one != content for one in once) > 90

"""Raw ids and profiles to model numbers."""

import numpy as np
import pytest

from device_runtime import BundleError, InputError, Vocabulary
from protos import dccl_pb2

AGE = dccl_pb2.ProfileField(name="age", values=["25", "35-44"])
GENDER = dccl_pb2.ProfileField(name="gender", values=["F", "M"])


@pytest.fixture
def numbers():
    return Vocabulary(dccl_pb2.Vocabulary(int_ids=[30, 10, 20]), [AGE, GENDER])


@pytest.fixture
def words():
    return Vocabulary(dccl_pb2.Vocabulary(string_ids=["b", "a", "ç"]))


def test_model_ids_follow_the_order_of_the_vocabulary(numbers, words):
    assert numbers.encode([30, 10, 20]).tolist() == [1, 2, 3]
    assert words.encode(["b", "a", "ç"]).tolist() == [1, 2, 3]
    assert numbers.ids == [30, 10, 20]
    assert words.ids == ["b", "a", "ç"]


def test_unknown_ids_share_the_id_after_the_last(numbers, words):
    assert numbers.encode([5, 31, 2**31 - 1, 2**62]).tolist() == [4, 4, 4, 4]
    assert words.encode(["", "bb"]).tolist() == [4, 4]


def test_ids_of_the_other_kind_in_an_old_log_are_unknown(numbers, words):
    assert numbers.encode(["10", 10]).tolist() == [4, 2]
    assert words.encode([10, "a"]).tolist() == [4, 2]


def test_no_ids_give_none(numbers):
    assert numbers.encode([]).shape == (0,)


@pytest.mark.parametrize(
    "column", [[10, 20], (10, 20), np.array([10, 20]), np.array([10, 20], np.uint8), range(10, 21, 10)]
)
def test_raw_ids_of_any_container_become_plain_ints(numbers, column):
    result = numbers.raw_ids("item", column)
    assert result == [10, 20]
    assert {type(value) for value in result} == {int}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([10, -1], r"item: expected an item id of the log, which is never negative, got -1 \(int\) at position 1"),
        ([10, "10"], r"item: expected a whole number.*got '10' \(str\) at position 1"),
        ([1.0], "item: expected a whole number.*got 1.0"),
        ([True], "item: expected a whole number.*got True"),
        ([None], "item: expected a whole number.*got None"),
        ([2**63], "item: expected an item id of 64 bits"),
        (10, "item: expected a list of item ids, got 10"),
        ("10", "item: expected a list of item ids, got '10'"),
        (np.zeros((2, 2), int), r"item: expected a list of item ids, got an array of shape \[2, 2\]"),
    ],
)
def test_wrong_ids_are_refused_by_name_and_position(numbers, values, message):
    with pytest.raises(InputError, match=message):
        numbers.raw_ids("item", values)


def test_a_number_is_refused_where_ids_are_strings(words):
    with pytest.raises(InputError, match=r"item: expected a string.*got 7 \(int\) at position 1"):
        words.raw_ids("item", ["a", 7])


def test_hashed_ids_may_be_negative_where_the_vocabulary_has_such():
    hashed = Vocabulary(dccl_pb2.Vocabulary(int_ids=[-7, 3]))
    assert hashed.encode(hashed.raw_ids("item", [-7, -8])).tolist() == [1, 3]


@pytest.mark.parametrize(
    "items",
    [
        dccl_pb2.Vocabulary(),
        dccl_pb2.Vocabulary(int_ids=[1], string_ids=["a"]),
        dccl_pb2.Vocabulary(int_ids=[1, 2, 1]),
        dccl_pb2.Vocabulary(string_ids=["a", "a"]),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(items):
    with pytest.raises(BundleError, match=r"vocabulary.pb: expected"):
        Vocabulary(items)


def test_profile_values_become_indices_and_0_is_unknown(numbers):
    indices, unknown = numbers.profile({"gender": "M", "age": 25})
    assert indices.tolist() == [1, 2]
    assert unknown == []
    assert numbers.profile(None)[0].tolist() == [0, 0]
    assert numbers.profile({"age": None})[0].tolist() == [0, 0]


def test_an_unknown_profile_value_is_reported(numbers):
    indices, unknown = numbers.profile({"age": "99"})
    assert indices.tolist() == [0, 0]
    assert unknown == ["age"]


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"agee": "25"}, "unknown field 'agee'; did you mean 'age'"),
        ({"age": 2.5}, "expected a string or a whole number for 'age', got 2.5"),
        ([1, 2], "expected a dict of field to value, got list"),
    ],
)
def test_a_wrong_profile_is_refused(numbers, profile, message):
    with pytest.raises(InputError, match=message):
        numbers.profile(profile)


def test_ids_typed_on_a_command_line(numbers, words):
    assert numbers.parse("10") == 10
    assert words.parse("10") == "10"
    with pytest.raises(InputError, match="expected a whole number"):
        numbers.parse("ten")

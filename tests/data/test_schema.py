"""What the shapes of data refuse."""

import pytest

from dccl_tf.data.schema import ProfileField


def test_a_profile_value_stands_once():
    with pytest.raises(ValueError, match="values: expected each once in the profile field 'age', got 'old' again"):
        ProfileField("age", ("old", "young", "old"))

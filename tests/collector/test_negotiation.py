"""Content coding, entity tags and ranges, from headers."""

import pytest

from dccl_tf.collector.negotiation import UnsatisfiableRange, byte_range, coding, tags


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("BR", "br"),
        ("*", "br"),
        ("*;q=0", "identity"),
        ("br; q=0.000, *", "gzip"),
        (";;,,q=", "identity"),
    ],
)
def test_coding(accept, expected):
    assert coding(accept, ["identity", "gzip", "br"]) == expected


def test_a_coding_that_is_not_there_is_not_chosen():
    assert coding("br, gzip", ["identity", "gzip"]) == "gzip"


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, []), ('"a"', ["a"]), ('W/"a", "b-br"', ["a", "b-br"]), ("*", ["*"]), ("a", [])],
)
def test_tags(header, expected):
    assert tags(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 6)),
        ("bytes=-3", (7, 3)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 2)),
        ("bytes=9-9", (9, 1)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=1" + 30 * "0" + "-", None),
    ],
)
def test_range_of_ten_bytes(header, expected):
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_with_nothing_in_it(header):
    with pytest.raises(UnsatisfiableRange, match="range: expected some of 10 bytes"):
        byte_range(header, 10)

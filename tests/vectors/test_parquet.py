"""Vectors to Parquet and back."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from dccl_tf.vectors import UploadedVectors
from dccl_tf.vectors.parquet import SCHEMA, read_vectors, write_vectors

BUNDLE, OTHER = b"a" * 32, b"b" * 32


def uploaded(*names: str, length: int = 3, sequence: int = 1) -> UploadedVectors:
    count = len(names)
    return UploadedVectors(
        device_ids=sorted(names),
        vectors=np.arange(count * length, dtype=np.float32).reshape(count, length) / 7,
        samples=np.arange(1, count + 1),
        gates=np.where(np.arange(count) == 1, np.nan, 1.0).astype(np.float32),
        cloud_loss=np.where(np.arange(count) == 1, np.nan, 0.5),
        personal_loss=np.where(np.arange(count) == 1, np.nan, 0.25),
        sequences=np.full(count, sequence),
    )


def same(found: UploadedVectors, expected: UploadedVectors):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
        if isinstance(value, np.ndarray):
            assert getattr(found, name).dtype == value.dtype, name


def test_what_was_written_comes_back_bundle_by_bundle(tmp_path):
    one, other = uploaded("a", "b", "ü"), uploaded("b", length=2)
    assert write_vectors(tmp_path / "v.parquet", {BUNDLE: one, OTHER: other}) == 4
    same(read_vectors(tmp_path / "v.parquet", BUNDLE), one)
    same(read_vectors(tmp_path / "v.parquet", OTHER), other)


def test_a_bundle_without_vectors_has_none(tmp_path):
    write_vectors(tmp_path / "v.parquet", {BUNDLE: uploaded("a")})
    found = read_vectors(tmp_path / "v.parquet", OTHER)
    assert (len(found), found.vectors.shape) == (0, (0, 0))


def test_of_a_folder_each_devices_newest_counts(tmp_path):
    write_vectors(tmp_path / "1.parquet", {BUNDLE: uploaded("a", "b", sequence=2)})
    write_vectors(tmp_path / "2.parquet", {BUNDLE: uploaded("b", "c", sequence=3)})
    write_vectors(tmp_path / "3.parquet", {BUNDLE: uploaded("c", sequence=1)})
    found = read_vectors(tmp_path, BUNDLE)
    assert found.device_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(found.sequences, [2, 3, 3])
    np.testing.assert_array_equal(found.vectors[1:], uploaded("b", "c").vectors)


def test_rows_that_no_store_would_take_are_left_out(tmp_path):
    table = {
        "device_id": ["a", None, "c", "d", "e", "e"],
        "bundle": [BUNDLE] * 6,
        "sequence": [1, 1, 1, 1, 1, 2],
        "vector": [[0.5, 1.0], [0.5, 1.0], [np.nan, 1.0], [None, 1.0], [2.0, 3.0], None],
        "samples": [7] * 6,
        "gate": [1.0] * 6,
        "cloud_loss": [0.5] * 6,
        "personal_loss": [0.5] * 6,
    }
    pyarrow.parquet.write_table(pa.table(table, schema=SCHEMA), tmp_path / "v.parquet")
    found = read_vectors(tmp_path / "v.parquet", BUNDLE)
    assert found.device_ids == ["a", "e"]
    np.testing.assert_array_equal(found.vectors, [[0.5, 1.0], [2.0, 3.0]])


def test_a_file_is_replaced_as_a_whole(tmp_path):
    write_vectors(tmp_path / "v.parquet", {BUNDLE: uploaded("a")})
    broken = dataclasses.replace(uploaded("b", "c"), samples=np.array([1]))
    with pytest.raises(pa.ArrowInvalid):
        write_vectors(tmp_path / "v.parquet", {BUNDLE: broken})
    same(read_vectors(tmp_path / "v.parquet", BUNDLE), uploaded("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["v.parquet"]


def test_nothing_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vectors: expected .*nowhere"):
        read_vectors(tmp_path / "nowhere.parquet", BUNDLE)


def test_vectors_of_two_lengths_are_refused(tmp_path):
    write_vectors(tmp_path / "1.parquet", {BUNDLE: uploaded("a")})
    write_vectors(tmp_path / "2.parquet", {BUNDLE: uploaded("b", length=4)})
    with pytest.raises(ValueError, match=r"vectors: expected one length .*got \[3, 4\]"):
        read_vectors(tmp_path, BUNDLE)


@pytest.mark.parametrize("missing", ["vector", "sequence"])
def test_other_columns_are_named(tmp_path, missing):
    table = pa.table({name: pa.nulls(1, SCHEMA.field(name).type) for name in SCHEMA.names if name != missing})
    pyarrow.parquet.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(ValueError, match=f"vectors: expected the columns .*{missing}"):
        read_vectors(tmp_path / "v.parquet", BUNDLE)


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match="vectors: expected"):
        read_vectors(tmp_path / "v.parquet", BUNDLE)

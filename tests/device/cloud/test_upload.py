"""The signed upload."""

import numpy as np
import pytest

from device_runtime import Device, InputError, StateError, StorageError
from protos import dccl_pb2
from protos.signing import verify

KEY = b"k" * 32


def read(body):
    signed = dccl_pb2.SignedUpload.FromString(body)
    assert verify(signed, KEY)
    return dccl_pb2.VectorUpload.FromString(signed.upload)


def test_it_carries_the_vector_where_it_comes_from_and_what_speaks_for_it(trained, bundle):
    upload = read(trained.upload())
    np.testing.assert_array_equal(np.array(upload.vector, np.float32), trained.vector)
    assert (upload.schema, upload.device_id, upload.bundle) == (1, trained.device_id, bundle.identity)
    assert (upload.samples, upload.sequence) == (48, 1)
    assert upload.evidence.heldout_samples == 12
    assert upload.evidence.gate == trained.gate
    assert upload.evidence.personal_loss == pytest.approx(trained.state["personal_loss"])


def test_another_key_does_not_verify(trained):
    assert not verify(dccl_pb2.SignedUpload.FromString(trained.upload()), b"x" * 32)


def test_each_upload_has_a_number_of_its_own_also_after_a_restart(trained, bundle):
    numbers = [read(trained.upload()).sequence]
    trained.log(101)
    trained.personalize()
    numbers.append(read(trained.upload()).sequence)
    folder = trained._folder.path
    trained.close()
    with Device.open(folder, bundle) as device:
        device.log(102)
        device.personalize()
        numbers.append(read(device.upload()).sequence)
    assert numbers == [1, 2, 3]


def test_one_vector_is_one_upload(trained):
    assert trained.upload() == trained.upload()
    assert read(trained.upload()).sequence == 1


def test_another_key_makes_another_upload_of_the_same_vector(trained):
    folder, body = trained._folder.path, trained.upload()
    trained.close()
    with Device.open(folder, key=b"n" * 32) as device:
        signed = dccl_pb2.SignedUpload.FromString(device.upload())
        assert verify(signed, b"n" * 32)
        assert dccl_pb2.VectorUpload.FromString(signed.upload).vector == read(body).vector


def test_a_number_that_could_not_be_stored_is_not_sent(trained, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("device_runtime.state.files.os.fsync", full)
    with pytest.raises(StorageError, match=r"\(No space left on device\); the previous one is intact"):
        trained.upload()
    monkeypatch.undo()
    assert read(trained.upload()).sequence == 1


def test_an_untrained_vector_is_not_sent(device):
    with pytest.raises(StateError, match=r"not been trained in this bundle; call personalize\(\) first"):
        device.upload()


def test_without_a_key_nothing_is_sent(tmp_path, bundle):
    with Device.open(tmp_path / "device", bundle) as device, pytest.raises(StateError, match="no key"):
        device.upload()


def receipt(status, sequence):
    return dccl_pb2.Receipt(status=status, sequence=sequence, reason=dccl_pb2.UNKNOWN_BUNDLE).SerializeToString()


@pytest.mark.parametrize(
    ("status", "name"),
    [(dccl_pb2.Receipt.ACCEPTED, "accepted"), (dccl_pb2.Receipt.DUPLICATE, "duplicate"),
     (dccl_pb2.Receipt.REJECTED, "rejected")],
)  # fmt: skip
def test_an_app_that_sends_by_itself_hands_in_the_receipt(trained, status, name):
    trained.upload()
    assert trained.state["uploads_waiting"] == 1
    assert trained.acknowledge(receipt(status, 1)) == name
    assert trained.state["uploads_waiting"] == 0
    assert trained.events(newest=1)[0].facts["status"] == name


@pytest.mark.parametrize("content", [b"", b"<html>", receipt(1, 2), receipt(3, 0), receipt(0, 1), None, "text"])
def test_what_is_no_receipt_of_a_waiting_upload_is_refused(trained, content):
    trained.upload()
    with pytest.raises(InputError, match=r"receipt: expected a serialised dccl.Receipt of an upload that waits"):
        trained.acknowledge(content)
    assert trained.state["uploads_waiting"] == 1


def test_it_is_small(trained):
    assert len(trained.upload()) < 200

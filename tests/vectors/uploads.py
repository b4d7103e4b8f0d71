"""Uploads as a device would send them."""

from dccl_tf.vectors import VectorStore
from protos import dccl_pb2
from protos.signing import sign

K = 4
BUNDLE = bytes(range(32))
OTHER = bytes(32)


def upload(**fields) -> dccl_pb2.VectorUpload:
    standard = {
        "schema": 1,
        "device_id": "d1",
        "bundle": BUNDLE,
        "sequence": 1,
        "vector": [0.1, -0.2, 0.3, 0.4],
        "samples": 9,
    }
    return dccl_pb2.VectorUpload(**standard | fields)


def body(store: VectorStore, **fields) -> bytes:
    """Signed with the device's key, which is made if need be."""
    message = upload(**fields)
    return sign(message, store.register_device(message.device_id))


def verdict(receipt: dccl_pb2.Receipt) -> str:
    """ACCEPTED, DUPLICATE or the reason of a rejection."""
    if receipt.status == dccl_pb2.Receipt.REJECTED:
        return dccl_pb2.Reason.Name(receipt.reason)
    return dccl_pb2.Receipt.Status.Name(receipt.status)

"""Devices as the collector meets them."""

from dataclasses import dataclass

from protos import dccl_pb2
from protos.signing import sign
from tests.collector.bundles import TINY_K, tiny_identity

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass
class SmallDevice:
    """A registered device."""

    device_id: str
    key: bytes

    @classmethod
    def registered(cls, client, device_id="", **headers) -> "SmallDevice":
        body = dccl_pb2.Registration(device_id=device_id).SerializeToString()
        answer = client.post("/v1/devices", content=body, headers=PROTOBUF | headers)
        assert answer.status_code == 201, answer.text
        credentials = dccl_pb2.Credentials.FromString(answer.content)
        return cls(credentials.device_id, credentials.key)

    def body(self, **fields) -> bytes:
        """A signed upload."""
        standard = {
            "schema": 1,
            "device_id": self.device_id,
            "bundle": tiny_identity(),
            "sequence": 1,
            "vector": [0.1] * TINY_K,
            "samples": 9,
        }
        return sign(dccl_pb2.VectorUpload(**standard | fields), self.key)


def send(client, body: bytes) -> dccl_pb2.Receipt:
    answer = client.post("/v1/vectors", content=body, headers=PROTOBUF)
    assert answer.headers["content-type"] == "application/x-protobuf", answer.text
    return dccl_pb2.Receipt.FromString(answer.content)

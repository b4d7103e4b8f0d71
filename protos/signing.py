"""The message authentication code of an upload: HMAC-SHA256 over the serialised bytes as they travel."""

import hashlib
import hmac

from protos import dccl_pb2

KEY_BYTES = 32


def sign(upload: dccl_pb2.VectorUpload, key: bytes) -> bytes:
    """Returns a serialised `SignedUpload`, the body to send."""
    body = upload.SerializeToString()
    return dccl_pb2.SignedUpload(upload=body, mac=_mac(body, key)).SerializeToString()


def verify(signed: dccl_pb2.SignedUpload, key: bytes) -> bool:
    """True if the upload was signed with `key`; compares in constant time."""
    return hmac.compare_digest(signed.mac, _mac(signed.upload, key))


def _mac(body: bytes, key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    return hmac.new(key, body, hashlib.sha256).digest()

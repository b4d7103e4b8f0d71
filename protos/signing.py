"""The message authentication codes of what devices send: HMAC-SHA256 over the serialised bytes as they travel."""

import hmac

from protos import dccl_pb2

KEY_BYTES = 32
# Before the bytes of a change of keys, so that no upload can pass for one.
_KEY_CHANGE = b"dccl.KeyChange"


def sign(upload: dccl_pb2.VectorUpload | bytes, key: bytes) -> bytes:
    """Returns a serialised `SignedUpload`, the body to send, of a message or of its bytes."""
    body = upload if isinstance(upload, bytes) else upload.SerializeToString()
    return dccl_pb2.SignedUpload(upload=body, mac=_mac(body, key)).SerializeToString()


def verify(signed: dccl_pb2.SignedUpload, key: bytes) -> bool:
    """True if the upload was signed with `key`; compares in constant time."""
    return hmac.compare_digest(signed.mac, _mac(signed.upload, key))


def sign_key_change(change: dccl_pb2.KeyChange, key: bytes) -> bytes:
    """Returns a serialised `SignedKeyChange`, signed with the device's present key."""
    body = change.SerializeToString()
    return dccl_pb2.SignedKeyChange(change=body, mac=_mac(_KEY_CHANGE + body, key)).SerializeToString()


def verify_key_change(signed: dccl_pb2.SignedKeyChange, key: bytes) -> bool:
    """True if the change was signed with `key`; compares in constant time."""
    return hmac.compare_digest(signed.mac, _mac(_KEY_CHANGE + signed.change, key))


def _mac(body: bytes, key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    return hmac.digest(key, body, "sha256")

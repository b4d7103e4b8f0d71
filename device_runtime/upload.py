"""The upload: the vector, where it comes from and what speaks for it, signed with the device's key."""

from device_runtime.state import DeviceState
from protos import dccl_pb2
from protos.signing import sign

SCHEMA = 1


def signed_upload(state: DeviceState, device_id: str, key: bytes) -> bytes:
    """The body of docs/protocol.md, "Upload", for a state whose sequence number has been saved."""
    evidence = state.evidence
    upload = dccl_pb2.VectorUpload(
        schema=SCHEMA,
        device_id=device_id,
        bundle=state.bundle,
        sequence=state.sequence,
        vector=state.current.vector.tolist(),
        samples=state.samples,
        evidence=dccl_pb2.Evidence(
            heldout_samples=evidence.heldout_samples,
            cloud_loss=evidence.cloud_loss or 0.0,
            personal_loss=evidence.personal_loss or 0.0,
            gate=state.gate,
        ),
    )
    return sign(upload, key)

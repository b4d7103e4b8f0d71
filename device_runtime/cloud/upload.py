"""The upload: the vector, where it comes from and what speaks for it (docs/protocol.md, "Upload")."""

from device_runtime.cloud.privacy import UploadNoise
from device_runtime.state.device_state import DeviceState
from protos import dccl_pb2

SCHEMA = 1


def upload_message(state: DeviceState, device_id: str, noise: UploadNoise | None = None) -> dccl_pb2.VectorUpload:
    """The message of a state, as yet without its sequence number.

    With noise it says that there are samples, not how many, and nothing of the held-out ones; see `privacy`.
    """
    upload = dccl_pb2.VectorUpload(schema=SCHEMA, device_id=device_id, bundle=state.bundle)
    if noise is not None:
        upload.vector.extend(noise.apply(state.current.vector).tolist())
        upload.samples = 1
        return upload
    upload.vector.extend(state.current.vector.tolist())
    upload.samples = state.samples
    evidence = state.evidence
    upload.evidence.CopyFrom(
        dccl_pb2.Evidence(
            heldout_samples=evidence.heldout_samples,
            cloud_loss=evidence.cloud_loss or 0.0,
            personal_loss=evidence.personal_loss or 0.0,
            gate=state.gate,
        )
    )
    return upload

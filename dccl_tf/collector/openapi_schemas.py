"""The JSON that operators send and get, as schemas of the OpenAPI description."""

from dccl_tf.collector.rollout import STATES
from dccl_tf.vectors.quarantine import REASONS

IDENTITY = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the bundle's manifest."}
NUMBER_OR_NULL = {"type": ["number", "null"]}
COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
PERCENT = {"type": "number", "minimum": 0, "maximum": 100}

RELEASE = {
    "type": "object",
    "required": ["number", "bundle", "percent", "state", "sizes", "published_at", "changed_at"],
    "properties": {
        "number": {"type": "integer"},
        "bundle": IDENTITY,
        "percent": PERCENT,
        "state": {"enum": list(STATES)},
        "sizes": COUNTS | {"description": "Bytes of the file by content coding."},
        "published_at": {"type": "number", "description": "Seconds since 1970."},
        "changed_at": {"type": "number"},
    },
}
QUARANTINED = {
    "type": "object",
    "required": ["number", "reason", "detail", "device_id", "body", "body_bytes", "received_at"],
    "properties": {
        "number": {"type": "integer"},
        "reason": {"enum": REASONS},
        "detail": {"type": "string"},
        "device_id": {"type": ["string", "null"]},
        "body": {"type": "string", "description": "Its first 4096 bytes in base64."},
        "body_bytes": {"type": "integer"},
        "received_at": {"type": "number"},
    },
}
STATISTICS = {
    "type": "object",
    "required": ["devices", "bundles", "rejected"],
    "properties": {
        "devices": {"type": "integer"},
        "bundles": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "identity": IDENTITY,
                    "metapatch_length": {"type": "integer"},
                    "vectors": {"type": "integer"},
                    "samples": {"type": "integer"},
                    "with_evidence": {"type": "integer"},
                    "mean_norm": NUMBER_OR_NULL,
                    "mean_gate": NUMBER_OR_NULL,
                    "mean_gain": NUMBER_OR_NULL,
                    "newest_at": NUMBER_OR_NULL,
                },
            },
        },
        "rejected": COUNTS,
    },
}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}

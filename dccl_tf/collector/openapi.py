"""The description of the HTTP interface (OpenAPI 3.1), served as /openapi.json."""

from typing import Any

from dccl_tf.collector.bodies import PROTOBUF
from dccl_tf.collector.bundle_api import DEVICE
from dccl_tf.collector.openapi_schemas import (
    COUNTS,
    IDENTITY,
    PERCENT,
    PROBLEM,
    QUARANTINED,
    REASONS,
    RELEASE,
    STATISTICS,
)
from dccl_tf.collector.rollout import STATES
from dccl_tf.vectors.tables import DEVICE_ID_CHARACTERS


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": schema}}}


def _protobuf(message: str) -> dict[str, Any]:
    return _content(PROTOBUF, {"type": "string", "format": "binary", "title": f"dccl.{message}"})


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return _content("application/json", schema)


def _answers(good: dict[str, dict[str, Any]], *problems: int) -> dict[str, dict[str, Any]]:
    """The responses of a call: the good ones, and problems, which all look alike."""
    bad = {
        str(status): {"description": _PROBLEMS[status], **_content("application/problem+json", PROBLEM)}
        for status in problems
    }
    for status in {"503", "429"} & set(bad):
        bad[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return good | bad


_PROBLEMS = {
    400: "The request is not of the form described.",
    401: "The token is missing or wrong.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It is there already.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    416: "There is nothing in the range.",
    422: "A value is not as it should be.",
    429: "Too many devices register: come back after Retry-After.",
    503: "The store is busy or away: nothing was stored; come back after Retry-After.",
}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, **content}


def _in(place: str, name: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema, **more}


_OPERATOR = [{"operator": []}]
_OPERATION = {"tags": ["operator"], "security": _OPERATOR}
_IDENTITY_IN_PATH = _in("path", "identity", IDENTITY, required=True)
_ZIP = _content("application/zip", {"type": "string", "format": "binary"})
_CONDITIONS = [
    _in("header", name, {"type": "string"}) for name in ("If-None-Match", "Range", "If-Range", "Accept-Encoding")
]
_FILE = {
    "200": {"description": "The bundle, as a zip.", **_ZIP},
    "206": {"description": "The bytes asked for of it.", **_ZIP},
    "304": {"description": "The device has it."},
}

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "dccl collector",
        "version": "1",
        "description": "Takes vectors of devices in and hands bundles out. The protobuf messages are in "
        "protos/dccl.proto; docs/protocol.md explains them.",
    },
    "components": {
        "securitySchemes": {
            "operator": {"type": "http", "scheme": "bearer"},
            "enrolment": {"type": "http", "scheme": "bearer"},
        }
    },
    "paths": {
        "/v1/devices": {
            "post": {
                "tags": ["device"],
                "summary": "Register a device: the answer holds its key.",
                "security": [{}, {"enrolment": []}],
                "requestBody": _body(_protobuf("Registration")),
                "responses": _answers(
                    {"201": {"description": "Id and key.", **_protobuf("Credentials")}},
                    *(400, 401, 408, 409, 413, 415, 422, 429, 503),
                ),
            }
        },
        "/v1/devices:changeKey": {
            "post": {
                "tags": ["device"],
                "summary": "Give a device a key of its own making.",
                "requestBody": _body(_protobuf("SignedKeyChange")),
                "responses": _answers(
                    {"200": {"description": "The verdict.", **_protobuf("Receipt")}}, *(400, 408, 413, 415, 503)
                ),
            }
        },
        "/v1/vectors": {
            "post": {
                "tags": ["device"],
                "summary": "Upload a vector. Whatever the body is, the receipt says what became of it.",
                "requestBody": _body(_protobuf("SignedUpload")),
                "responses": _answers(
                    {
                        "200": {"description": "The verdict; durable.", **_protobuf("Receipt")},
                        "413": {"description": "The verdict on a body that is too large.", **_protobuf("Receipt")},
                    },
                    *(400, 408, 415, 503),
                ),
            }
        },
        "/v1/vectors:batch": {
            "post": {
                "tags": ["device"],
                "summary": "Upload many vectors; each is judged on its own.",
                "requestBody": _body(_protobuf("UploadBatch")),
                "responses": _answers(
                    {"200": {"description": "The verdicts, in order; durable.", **_protobuf("ReceiptBatch")}},
                    *(400, 408, 413, 415, 503),
                ),
            }
        },
        "/v1/bundle": {
            "get": {
                "tags": ["device"],
                "summary": "The newest bundle for a device.",
                "parameters": [
                    _in(
                        "header",
                        DEVICE,
                        {"type": "string", "minLength": 1, "maxLength": DEVICE_ID_CHARACTERS},
                        description="Without it: what all devices are offered.",
                    ),
                    *_CONDITIONS,
                ],
                "responses": _answers(_FILE, 400, 404, 416, 503),
            }
        },
        "/v1/bundles/{identity}": {
            "get": {
                "tags": ["device"],
                "summary": "A bundle that was published, for caches: it never changes.",
                "parameters": [_IDENTITY_IN_PATH, *_CONDITIONS],
                "responses": _answers(_FILE, 404, 416, 503),
            }
        },
        "/v1/operator/bundles": {
            "get": {
                **_OPERATION,
                "summary": "All releases, newest first.",
                "responses": _answers(
                    {
                        "200": {
                            "description": "Releases.",
                            **_json({"type": "object", "properties": {"bundles": {"type": "array", "items": RELEASE}}}),
                        }
                    },
                    *(401, 503),
                ),
            },
            "post": {
                **_OPERATION,
                "summary": "Publish a bundle to a share of devices.",
                "parameters": [
                    _in(
                        "query",
                        "percent",
                        PERCENT,
                        description="Without it: 0 for a new bundle, and the share that it has for a known one.",
                    )
                ],
                "requestBody": _body(_ZIP),
                "responses": _answers(
                    {"201": {"description": "The release.", **_json(RELEASE)}},
                    *(400, 401, 408, 409, 413, 415, 422, 503),
                ),
            },
        },
        "/v1/operator/bundles/{identity}": {
            "patch": {
                **_OPERATION,
                "summary": "Widen, narrow, halt, roll back or resume a release.",
                "parameters": [_IDENTITY_IN_PATH],
                "requestBody": _body(
                    _json(
                        {
                            "type": "object",
                            "minProperties": 1,
                            "additionalProperties": False,
                            "properties": {"percent": PERCENT, "state": {"enum": list(STATES)}},
                        }
                    )
                ),
                "responses": _answers(
                    {"200": {"description": "The release.", **_json(RELEASE)}}, *(400, 401, 404, 408, 415, 422, 503)
                ),
            }
        },
        "/v1/operator/quarantine": {
            "get": {
                **_OPERATION,
                "summary": "Rejected uploads, newest first, and counts of all.",
                "parameters": [
                    _in("query", "reason", {"enum": REASONS}),
                    _in("query", "limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
                    _in(
                        "query",
                        "before",
                        {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                        description="Only those with a smaller number: to turn pages.",
                    ),
                ],
                "responses": _answers(
                    {
                        "200": {
                            "description": "What was rejected.",
                            **_json(
                                {
                                    "type": "object",
                                    "required": ["counts", "uploads"],
                                    "properties": {
                                        "counts": COUNTS,
                                        "uploads": {"type": "array", "items": QUARANTINED},
                                    },
                                }
                            ),
                        }
                    },
                    *(401, 422, 503),
                ),
            }
        },
        "/v1/operator/statistics": {
            "get": {
                **_OPERATION,
                "summary": "Devices, vectors by bundle, rejections by reason.",
                "responses": _answers({"200": {"description": "Numbers.", **_json(STATISTICS)}}, 401, 503),
            }
        },
        "/v1/operator/devices/{device_id}": {
            "delete": {
                **_OPERATION,
                "summary": "Remove a device, its key and its vectors.",
                "parameters": [_in("path", "device_id", {"type": "string", "minLength": 1}, required=True)],
                "responses": _answers({"204": {"description": "Done."}}, 401, 404, 503),
            }
        },
        "/healthz": {
            "get": {
                "tags": ["health"],
                "responses": {"200": {"description": "Alive.", **_content("text/plain", {"type": "string"})}},
            }
        },
        "/readyz": {
            "get": {
                "tags": ["health"],
                "responses": {
                    status: {
                        "description": what,
                        **_json({"type": "object", "additionalProperties": {"type": "string"}}),
                    }
                    for status, what in (("200", "Ready."), ("503", "Says what does not answer."))
                },
            }
        },
        "/metrics": {
            "get": {
                **_OPERATION,
                "tags": ["health"],
                "responses": _answers(
                    {"200": {"description": "For Prometheus.", **_content("text/plain", {"type": "string"})}}, 401
                ),
            }
        },
        "/openapi.json": {
            "get": {"tags": ["health"], "responses": {"200": {"description": "This.", **_json({"type": "object"})}}}
        },
    },
}

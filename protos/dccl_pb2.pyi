from collections.abc import Iterable as _Iterable
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[Reason]
    MALFORMED: _ClassVar[Reason]
    TOO_LARGE: _ClassVar[Reason]
    UNSUPPORTED_SCHEMA: _ClassVar[Reason]
    UNKNOWN_DEVICE: _ClassVar[Reason]
    BAD_MAC: _ClassVar[Reason]
    UNKNOWN_BUNDLE: _ClassVar[Reason]
    STALE_SEQUENCE: _ClassVar[Reason]
    WRONG_LENGTH: _ClassVar[Reason]
    NOT_FINITE: _ClassVar[Reason]
    NORM_TOO_LARGE: _ClassVar[Reason]
    NO_SAMPLES: _ClassVar[Reason]
NONE: Reason
MALFORMED: Reason
TOO_LARGE: Reason
UNSUPPORTED_SCHEMA: Reason
UNKNOWN_DEVICE: Reason
BAD_MAC: Reason
UNKNOWN_BUNDLE: Reason
STALE_SEQUENCE: Reason
WRONG_LENGTH: Reason
NOT_FINITE: Reason
NORM_TOO_LARGE: Reason
NO_SAMPLES: Reason

class ProfileField(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: str | None = ..., values: _Iterable[str] | None = ...) -> None: ...

class Operator(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: str | None = ..., version: int | None = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("epochs", "gate_margin", "heldout_fraction", "learning_rate", "negatives", "optimizer", "pull")
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    HELDOUT_FRACTION_FIELD_NUMBER: _ClassVar[int]
    GATE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    optimizer: str
    learning_rate: float
    epochs: int
    pull: float
    heldout_fraction: float
    gate_margin: float
    negatives: int
    def __init__(self, optimizer: str | None = ..., learning_rate: float | None = ..., epochs: int | None = ..., pull: float | None = ..., heldout_fraction: float | None = ..., gate_margin: float | None = ..., negatives: int | None = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("candidates", "certificate_sha256", "goldens_sha256", "history_labels", "history_length", "items", "metapatch_length", "model_sha256", "oldest_runtime", "operators", "parent", "precision", "profile", "protocol", "schema", "train_batch", "training", "vocabulary_sha256")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    METAPATCH_LENGTH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_BATCH_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_LABELS_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SHA256_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    GOLDENS_SHA256_FIELD_NUMBER: _ClassVar[int]
    schema: int
    protocol: str
    metapatch_length: int
    history_length: int
    candidates: int
    train_batch: int
    items: int
    history_labels: bool
    profile: _containers.RepeatedCompositeFieldContainer[ProfileField]
    training: Training
    precision: str
    operators: _containers.RepeatedCompositeFieldContainer[Operator]
    oldest_runtime: str
    parent: bytes
    model_sha256: bytes
    vocabulary_sha256: bytes
    certificate_sha256: bytes
    goldens_sha256: bytes
    def __init__(self, schema: int | None = ..., protocol: str | None = ..., metapatch_length: int | None = ..., history_length: int | None = ..., candidates: int | None = ..., train_batch: int | None = ..., items: int | None = ..., history_labels: bool = ..., profile: _Iterable[ProfileField | _Mapping] | None = ..., training: Training | _Mapping | None = ..., precision: str | None = ..., operators: _Iterable[Operator | _Mapping] | None = ..., oldest_runtime: str | None = ..., parent: bytes | None = ..., model_sha256: bytes | None = ..., vocabulary_sha256: bytes | None = ..., certificate_sha256: bytes | None = ..., goldens_sha256: bytes | None = ...) -> None: ...

class Vocabulary(_message.Message):
    __slots__ = ("int_ids", "string_ids")
    INT_IDS_FIELD_NUMBER: _ClassVar[int]
    STRING_IDS_FIELD_NUMBER: _ClassVar[int]
    int_ids: _containers.RepeatedScalarFieldContainer[int]
    string_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, int_ids: _Iterable[int] | None = ..., string_ids: _Iterable[str] | None = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("data", "dtype", "name", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, name: str | None = ..., dtype: str | None = ..., shape: _Iterable[int] | None = ..., data: bytes | None = ...) -> None: ...

class GoldenCall(_message.Message):
    __slots__ = ("inputs", "outputs", "signature", "tolerance")
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    signature: str
    inputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    outputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    tolerance: float
    def __init__(self, signature: str | None = ..., inputs: _Iterable[Tensor | _Mapping] | None = ..., outputs: _Iterable[Tensor | _Mapping] | None = ..., tolerance: float | None = ...) -> None: ...

class Goldens(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[GoldenCall]
    def __init__(self, calls: _Iterable[GoldenCall | _Mapping] | None = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("cloud_loss", "gate", "heldout_samples", "personal_loss")
    HELDOUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CLOUD_LOSS_FIELD_NUMBER: _ClassVar[int]
    PERSONAL_LOSS_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    heldout_samples: int
    cloud_loss: float
    personal_loss: float
    gate: float
    def __init__(self, heldout_samples: int | None = ..., cloud_loss: float | None = ..., personal_loss: float | None = ..., gate: float | None = ...) -> None: ...

class VectorUpload(_message.Message):
    __slots__ = ("bundle", "device_id", "evidence", "samples", "schema", "sequence", "vector")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    schema: int
    device_id: str
    bundle: bytes
    sequence: int
    vector: _containers.RepeatedScalarFieldContainer[float]
    samples: int
    evidence: Evidence
    def __init__(self, schema: int | None = ..., device_id: str | None = ..., bundle: bytes | None = ..., sequence: int | None = ..., vector: _Iterable[float] | None = ..., samples: int | None = ..., evidence: Evidence | _Mapping | None = ...) -> None: ...

class SignedUpload(_message.Message):
    __slots__ = ("mac", "upload")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    upload: bytes
    mac: bytes
    def __init__(self, upload: bytes | None = ..., mac: bytes | None = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("detail", "reason", "sequence", "status")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Receipt.Status]
        ACCEPTED: _ClassVar[Receipt.Status]
        DUPLICATE: _ClassVar[Receipt.Status]
        REJECTED: _ClassVar[Receipt.Status]
    UNKNOWN: Receipt.Status
    ACCEPTED: Receipt.Status
    DUPLICATE: Receipt.Status
    REJECTED: Receipt.Status
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    status: Receipt.Status
    reason: Reason
    detail: str
    sequence: int
    def __init__(self, status: Receipt.Status | str | None = ..., reason: Reason | str | None = ..., detail: str | None = ..., sequence: int | None = ...) -> None: ...

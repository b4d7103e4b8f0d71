from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

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
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class Operator(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("optimizer", "learning_rate", "epochs", "pull", "heldout_fraction", "gate_margin", "negatives")
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
    def __init__(self, optimizer: _Optional[str] = ..., learning_rate: _Optional[float] = ..., epochs: _Optional[int] = ..., pull: _Optional[float] = ..., heldout_fraction: _Optional[float] = ..., gate_margin: _Optional[float] = ..., negatives: _Optional[int] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("schema", "protocol", "metapatch_length", "history_length", "candidates", "train_batch", "items", "history_labels", "profile", "training", "precision", "operators", "oldest_runtime", "parent", "model_sha256", "vocabulary_sha256", "certificate_sha256", "goldens_sha256", "encoded_width")
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
    ENCODED_WIDTH_FIELD_NUMBER: _ClassVar[int]
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
    encoded_width: int
    def __init__(self, schema: _Optional[int] = ..., protocol: _Optional[str] = ..., metapatch_length: _Optional[int] = ..., history_length: _Optional[int] = ..., candidates: _Optional[int] = ..., train_batch: _Optional[int] = ..., items: _Optional[int] = ..., history_labels: bool = ..., profile: _Optional[_Iterable[_Union[ProfileField, _Mapping]]] = ..., training: _Optional[_Union[Training, _Mapping]] = ..., precision: _Optional[str] = ..., operators: _Optional[_Iterable[_Union[Operator, _Mapping]]] = ..., oldest_runtime: _Optional[str] = ..., parent: _Optional[bytes] = ..., model_sha256: _Optional[bytes] = ..., vocabulary_sha256: _Optional[bytes] = ..., certificate_sha256: _Optional[bytes] = ..., goldens_sha256: _Optional[bytes] = ..., encoded_width: _Optional[int] = ...) -> None: ...

class Vocabulary(_message.Message):
    __slots__ = ("int_ids", "string_ids")
    INT_IDS_FIELD_NUMBER: _ClassVar[int]
    STRING_IDS_FIELD_NUMBER: _ClassVar[int]
    int_ids: _containers.RepeatedScalarFieldContainer[int]
    string_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, int_ids: _Optional[_Iterable[int]] = ..., string_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("name", "dtype", "shape", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class GoldenCall(_message.Message):
    __slots__ = ("signature", "inputs", "outputs", "tolerance")
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    signature: str
    inputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    outputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    tolerance: float
    def __init__(self, signature: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., tolerance: _Optional[float] = ...) -> None: ...

class Goldens(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[GoldenCall]
    def __init__(self, calls: _Optional[_Iterable[_Union[GoldenCall, _Mapping]]] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("heldout_samples", "cloud_loss", "personal_loss", "gate")
    HELDOUT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CLOUD_LOSS_FIELD_NUMBER: _ClassVar[int]
    PERSONAL_LOSS_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    heldout_samples: int
    cloud_loss: float
    personal_loss: float
    gate: float
    def __init__(self, heldout_samples: _Optional[int] = ..., cloud_loss: _Optional[float] = ..., personal_loss: _Optional[float] = ..., gate: _Optional[float] = ...) -> None: ...

class VectorUpload(_message.Message):
    __slots__ = ("schema", "device_id", "bundle", "sequence", "vector", "samples", "evidence")
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
    def __init__(self, schema: _Optional[int] = ..., device_id: _Optional[str] = ..., bundle: _Optional[bytes] = ..., sequence: _Optional[int] = ..., vector: _Optional[_Iterable[float]] = ..., samples: _Optional[int] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ...) -> None: ...

class SignedUpload(_message.Message):
    __slots__ = ("upload", "mac")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    upload: bytes
    mac: bytes
    def __init__(self, upload: _Optional[bytes] = ..., mac: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("status", "reason", "detail", "sequence")
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
    def __init__(self, status: _Optional[_Union[Receipt.Status, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., detail: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("device_id",)
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    def __init__(self, device_id: _Optional[str] = ...) -> None: ...

class Credentials(_message.Message):
    __slots__ = ("device_id", "key")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    key: bytes
    def __init__(self, device_id: _Optional[str] = ..., key: _Optional[bytes] = ...) -> None: ...

class KeyChange(_message.Message):
    __slots__ = ("device_id", "new_key")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_KEY_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    new_key: bytes
    def __init__(self, device_id: _Optional[str] = ..., new_key: _Optional[bytes] = ...) -> None: ...

class SignedKeyChange(_message.Message):
    __slots__ = ("change", "mac")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    change: bytes
    mac: bytes
    def __init__(self, change: _Optional[bytes] = ..., mac: _Optional[bytes] = ...) -> None: ...

class UploadBatch(_message.Message):
    __slots__ = ("uploads",)
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    uploads: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, uploads: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ReceiptBatch(_message.Message):
    __slots__ = ("receipts",)
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    def __init__(self, receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ...) -> None: ...

"""The edge: runs and trains a bundle with a plain TFLite wheel; never imports TensorFlow.

    from device_runtime import Device

    device = Device.open("state", bundle="bundle", profile={"age": "25-34"})
    device.log(item=1193, skipped=[661, 914])
    report = device.personalize()
    ids, scores = device.rank(candidates, k=10)
    device.send("https://collector.example")    # about 240 bytes; waits on the disk until they have arrived

Names are imported on first use, so that `import device_runtime` costs next to nothing. A folder imports only from those
before it: `interpreter`, `bundle`, `log`, `state`, `learning`, `upgrade`, `cloud`; `device` puts them together.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from device_runtime.bundle.bundle import Bundle
    from device_runtime.bundle.goldens import GoldenResult, replay_goldens
    from device_runtime.bundle.vocabulary import Vocabulary
    from device_runtime.cloud.delivery import Delivery, Retries
    from device_runtime.cloud.download import fetch_bundle
    from device_runtime.cloud.privacy import UploadNoise
    from device_runtime.cloud.registration import change_key, register
    from device_runtime.cloud.transport import Answer, HttpTransport, Transport
    from device_runtime.device import Device
    from device_runtime.errors import (
        BundleError,
        DeviceError,
        DownloadError,
        InputError,
        ModelError,
        RegistrationError,
        RuntimeMissingError,
        StateError,
        StorageError,
        UnsupportedOperatorError,
        UploadError,
    )
    from device_runtime.interpreter.operators import OperatorUse, read_operators, read_outline
    from device_runtime.interpreter.runtime import Runtime, load_runtime
    from device_runtime.learning.personalize import PersonalizeConfig, Report
    from device_runtime.learning.schedule import heldout_rows, training_schedule
    from device_runtime.log.events import Event
    from device_runtime.log.samples import LogLimits
    from device_runtime.upgrade.opening import Opening

__all__ = [
    "Answer",
    "Bundle",
    "BundleError",
    "Delivery",
    "Device",
    "DeviceError",
    "DownloadError",
    "Event",
    "GoldenResult",
    "HttpTransport",
    "InputError",
    "LogLimits",
    "ModelError",
    "Opening",
    "OperatorUse",
    "PersonalizeConfig",
    "RegistrationError",
    "Report",
    "Retries",
    "Runtime",
    "RuntimeMissingError",
    "StateError",
    "StorageError",
    "Transport",
    "UnsupportedOperatorError",
    "UploadError",
    "UploadNoise",
    "Vocabulary",
    "change_key",
    "fetch_bundle",
    "heldout_rows",
    "load_runtime",
    "read_operators",
    "read_outline",
    "register",
    "replay_goldens",
    "training_schedule",
]

_MODULES = {
    "bundle.bundle": ("Bundle",),
    "bundle.goldens": ("GoldenResult", "replay_goldens"),
    "bundle.vocabulary": ("Vocabulary",),
    "cloud.delivery": ("Delivery", "Retries"),
    "cloud.download": ("fetch_bundle",),
    "cloud.privacy": ("UploadNoise",),
    "cloud.registration": ("change_key", "register"),
    "cloud.transport": ("Answer", "HttpTransport", "Transport"),
    "device": ("Device",),
    "errors": (
        "BundleError",
        "DeviceError",
        "DownloadError",
        "InputError",
        "ModelError",
        "RegistrationError",
        "RuntimeMissingError",
        "StateError",
        "StorageError",
        "UnsupportedOperatorError",
        "UploadError",
    ),
    "interpreter.operators": ("OperatorUse", "read_operators", "read_outline"),
    "interpreter.runtime": ("Runtime", "load_runtime"),
    "learning.personalize": ("PersonalizeConfig", "Report"),
    "learning.schedule": ("heldout_rows", "training_schedule"),
    "log.events": ("Event",),
    "log.samples": ("LogLimits",),
    "upgrade.opening": ("Opening",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

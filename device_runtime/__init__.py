"""The edge: runs and trains a bundle with a plain TFLite wheel; never imports TensorFlow.

    from device_runtime import Device

    device = Device.open("state", bundle="bundle", profile={"age": "25-34"})
    device.log(item=1193, skipped=[661, 914])
    report = device.personalize()
    ids, scores = device.rank(candidates, k=10)
    body = device.upload()                      # about 200 bytes, ready to send

Names are imported on first use, so that `import device_runtime` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from device_runtime.bundle import Bundle
    from device_runtime.device import Device
    from device_runtime.errors import (
        BundleError,
        DeviceError,
        InputError,
        ModelError,
        RuntimeMissingError,
        StateError,
        StorageError,
        UnsupportedOperatorError,
    )
    from device_runtime.goldens import GoldenResult, replay_goldens
    from device_runtime.operators import OperatorUse, read_operators, read_outline
    from device_runtime.personalize import PersonalizeConfig, Report
    from device_runtime.runtime import Runtime, load_runtime
    from device_runtime.schedule import heldout_rows, training_schedule
    from device_runtime.vocabulary import Vocabulary

__all__ = [
    "Bundle",
    "BundleError",
    "Device",
    "DeviceError",
    "GoldenResult",
    "InputError",
    "ModelError",
    "OperatorUse",
    "PersonalizeConfig",
    "Report",
    "Runtime",
    "RuntimeMissingError",
    "StateError",
    "StorageError",
    "UnsupportedOperatorError",
    "Vocabulary",
    "heldout_rows",
    "load_runtime",
    "read_operators",
    "read_outline",
    "replay_goldens",
    "training_schedule",
]

_MODULES = {
    "bundle": ("Bundle",),
    "device": ("Device",),
    "errors": (
        "BundleError",
        "DeviceError",
        "InputError",
        "ModelError",
        "RuntimeMissingError",
        "StateError",
        "StorageError",
        "UnsupportedOperatorError",
    ),
    "goldens": ("GoldenResult", "replay_goldens"),
    "operators": ("OperatorUse", "read_operators", "read_outline"),
    "personalize": ("PersonalizeConfig", "Report"),
    "runtime": ("Runtime", "load_runtime"),
    "schedule": ("heldout_rows", "training_schedule"),
    "vocabulary": ("Vocabulary",),
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

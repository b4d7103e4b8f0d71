"""From a cloud model to one certified .tflite bundle for every phone.

Names are imported on first use, so that what needs no TensorFlow (`export.operator_versions`) does not import it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.bundle import export_bundle
    from export.certificate import CertificateError
    from export.convert import ExportError
    from export.device_module import Sizes

__all__ = ["CertificateError", "ExportError", "Sizes", "export_bundle"]

_MODULE_OF = {
    "CertificateError": "certificate",
    "ExportError": "convert",
    "Sizes": "device_module",
    "export_bundle": "bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)

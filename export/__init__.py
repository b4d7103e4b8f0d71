"""From a cloud model to one certified .tflite bundle for every phone."""

from export.bundle import export_bundle
from export.certificate import CertificateError
from export.convert import ExportError
from export.device_module import Sizes

__all__ = ["CertificateError", "ExportError", "Sizes", "export_bundle"]

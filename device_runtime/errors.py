"""What can go wrong on a device, by name. All derive from `DeviceError`, so one `except` catches ours alone."""


class DeviceError(Exception):
    """Any failure that this package foresees; its message is one sentence and says the way out."""


class InputError(DeviceError, ValueError):
    """An argument is not what was asked for; nothing was changed."""


class RuntimeMissingError(DeviceError):
    """No usable TFLite interpreter is installed."""


class ModelError(DeviceError):
    """The bytes are not a model that this runtime can run."""


class UnsupportedOperatorError(ModelError):
    """The model needs operators that the plain TFLite wheels do not carry, such as those of the Flex delegate."""


class BundleError(DeviceError):
    """A bundle is missing, incomplete, damaged or of a schema that this version does not know."""


class StateError(DeviceError):
    """The device's stored state is damaged, in use, or does not fit what was asked."""


class StorageError(DeviceError):
    """The state folder cannot be read or written; what was stored before is intact."""


class UploadError(DeviceError):
    """An upload cannot be made or sent as things are; what waits in the queue is intact."""


class RegistrationError(DeviceError):
    """The collector gave no key; nothing was stored."""


class DownloadError(DeviceError):
    """A bundle did not arrive; what arrived is kept, and the next attempt goes on from there."""

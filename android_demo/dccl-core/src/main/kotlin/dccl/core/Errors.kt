package dccl.core

/** Any failure that this library foresees; its message is one sentence and says the way out. */
open class DeviceError(message: String, cause: Throwable? = null) : RuntimeException(message, cause)

/** An argument is not what was asked for; nothing was changed. */
class InputError(message: String) : DeviceError(message)

/** The file is not a model that this runtime can run. */
open class ModelError(message: String, cause: Throwable? = null) : DeviceError(message, cause)

/** The model needs operators that plain TFLite does not carry, such as those of the Flex delegate. */
class UnsupportedOperatorError(message: String) : ModelError(message)

/** A bundle is missing, incomplete, damaged or of a schema that this version does not know. */
class BundleError(message: String, cause: Throwable? = null) : DeviceError(message, cause)

/** The stored state is damaged, in use, or does not fit what was asked. */
class StateError(message: String, cause: Throwable? = null) : DeviceError(message, cause)

/** The state folder cannot be read or written; what was stored before is intact. */
class StorageError(message: String, cause: Throwable? = null) : DeviceError(message, cause)

/** The collector gave no key, or did not change it. */
class RegistrationError(message: String, cause: Throwable? = null) : DeviceError(message, cause)

/** A bundle did not arrive; what arrived is kept, and the next attempt goes on from there. */
class DownloadError(message: String, cause: Throwable? = null) : DeviceError(message, cause)

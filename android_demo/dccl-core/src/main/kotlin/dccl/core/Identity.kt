package dccl.core

import java.io.File
import java.security.SecureRandom

/**
 * Who a device is, in its state folder.
 *
 *     device.id       opaque id, text
 *     device.key      32 bytes that the cloud gave at registration, readable by the owner alone
 *     device.key.next the key that it changes to, until the cloud has said that it counts
 */
internal class Identity(private val folder: File) {
    private val idFile = File(folder, "device.id")
    private val keyFile = File(folder, "device.key")
    private val nextKeyFile = File(folder, "device.key.next")

    /** The stored id; null where there is none yet. Throws StateError if it is damaged. */
    val deviceId: String?
        get() {
            val content = readFile(idFile)
            if (content == null || content.isEmpty()) return null
            return readId(content)
                ?: throw StateError("$idFile: damaged; write the device's id into it, or remove it for a new one")
        }

    /** The stored id, else the given one, else a new random one; then stored. */
    fun identify(deviceId: String?): String {
        checkId(deviceId)
        val stored = this.deviceId
            ?: return (deviceId ?: randomBytes(16).hex()).also { replaceFile(idFile, it.toByteArray()) }
        if (deviceId != null && deviceId != stored) {
            throw StateError(
                "device_id: expected \"$stored\", to which $folder belongs, got \"$deviceId\"; use another state folder"
            )
        }
        return stored
    }

    /** Gives the device the id that comes with a key; without a key nobody has met it under another one. */
    fun rename(deviceId: String) = replaceFile(idFile, deviceId.toByteArray())

    /** The given key, which is then stored, else the stored one, else null. */
    fun key(key: ByteArray?): ByteArray? {
        val stored = readFile(keyFile)
        if (key == null) {
            if (stored != null && stored.size != KEY_BYTES) {
                throw StateError("$keyFile: damaged (${stored.size} bytes); open the device once with a key")
            }
            return stored
        }
        if (key.size != KEY_BYTES) {
            throw InputError("key: expected $KEY_BYTES bytes from the cloud's registration, got ${key.size} bytes")
        }
        if (!key.contentEquals(stored)) replaceFile(keyFile, key)
        return key
    }

    /** Whether the key is being changed: nobody here knows which of the two the cloud takes. */
    val isChangingKey: Boolean get() = nextKeyFile.exists()

    /** The key to change to: the one that was chosen before, else a new one; then stored. */
    fun nextKey(): ByteArray = readFile(nextKeyFile)?.takeIf { it.size == KEY_BYTES }
        ?: randomBytes(KEY_BYTES).also { replaceFile(nextKeyFile, it) }

    /** Makes the key that was changed to the only one. Throws StorageError; both are then kept. */
    fun finishKeyChange() {
        if (!nextKeyFile.renameTo(keyFile)) throw StorageError("$keyFile: cannot be replaced; change the key again")
    }

    /** Keeps the key as it is. Throws StorageError. */
    fun dropKeyChange() = erase(nextKeyFile)

    private fun randomBytes(count: Int) = ByteArray(count).also { SecureRandom().nextBytes(it) }
}

package dccl.core

import com.google.protobuf.ByteString
import com.google.protobuf.InvalidProtocolBufferException
import dccl.Dccl
import java.io.File
import java.io.IOException

private const val TAKEN = "; if a registration of this very device broke off, its key is lost: register again with " +
    "orNewId (log and vector stay), or with another id"

/**
 * Gets a key for the device of a state folder and stores it there; [Personalizer.open] then finds it. A device that has
 * a key keeps it, and nobody is asked.
 *
 * Before or after the device's first opening, while it is not open, and off the main thread: where nobody answers, it
 * waits for the collector's timeout.
 *
 * @param stateDir the device's folder; made if missing.
 * @param deviceId opaque, 1 to 128 printable characters; null: the folder's, or else one that the collector chooses.
 * @param token the app's enrolment token, where the collector wants one.
 * @param orNewId where the id is taken, such as by a registration of this very device whose answer was lost, the device
 *   gets one that the collector chooses. Log and vector stay.
 * @return the device's id.
 * @throws RegistrationError no answer came, or the collector refuses; nothing was stored.
 * @throws StateError the folder is in use, damaged, or of a device with another id.
 * @throws StorageError the folder cannot be written.
 */
fun Collector.register(
    stateDir: File,
    deviceId: String? = null,
    token: String? = null,
    orNewId: Boolean = false
): String {
    checkId(deviceId)
    return identityOf(stateDir) { identity ->
        if (identity.key(null) != null) return@identityOf identity.identify(deviceId)
        var wanted = if (identity.deviceId == null) deviceId.orEmpty() else identity.identify(deviceId)
        var answer = askedForCredentials(wanted, token)
        if (answer.status == 409 && wanted.isNotEmpty() && orNewId) {
            wanted = ""
            answer = askedForCredentials(wanted, token)
        }
        val credentials = credentials(answer, wanted)
        identity.rename(credentials.deviceId)
        identity.key(credentials.key.toByteArray())
        credentials.deviceId
    }
}

/**
 * Replaces the key of a device by a new one that nobody else has seen, once the collector says that it counts.
 *
 * If no answer comes, both keys are kept, the device sends no uploads, and the next call asks for the same change again.
 * While the device is not open, and off the main thread.
 *
 * @param stateDir the folder of a device with a key.
 * @throws RegistrationError no answer came; or the collector refuses, and the key stays as it is.
 * @throws StateError there is no key, or the folder is in use or damaged.
 * @throws StorageError the folder cannot be written.
 */
fun Collector.changeKey(stateDir: File) = identityOf(stateDir) { identity ->
    val key = identity.key(null)
        ?: throw StateError("key: expected a device with a key, and $stateDir has none; register it first")
    val change = Dccl.KeyChange.newBuilder()
        .setDeviceId(identity.identify(null))
        .setNewKey(ByteString.copyFrom(identity.nextKey()))
        .build()
        .toByteString()
    val signed = Dccl.SignedKeyChange.newBuilder().setChange(change).setMac(mac("dccl.KeyChange", change, key)).build()
    val answer = asked("/v1/devices:changeKey", signed.toByteArray())
    val receipt = if (answer.status == 200) receiptOf(answer) else null
    when (receipt?.status) {
        Dccl.Receipt.Status.ACCEPTED, Dccl.Receipt.Status.DUPLICATE -> identity.finishKeyChange()

        Dccl.Receipt.Status.REJECTED -> {
            identity.dropKeyChange()
            throw RegistrationError(
                "$address: the key stays as it is (${reason(receipt)}); if uploads are refused too, let the collector " +
                    "forget the device, remove device.key from $stateDir and register again"
            )
        }
        else -> throw RegistrationError("$address: expected a receipt, got ${refusal(answer)}; change the key again")
    }
}

/** Works on a folder that no device has open. */
private fun <R> identityOf(stateDir: File, work: (Identity) -> R): R {
    makeStateDir(stateDir)
    return FolderLock(stateDir).use { work(Identity(stateDir)) }
}

private fun Collector.askedForCredentials(deviceId: String, token: String?): Answer {
    val body = Dccl.Registration.newBuilder().setDeviceId(deviceId).build().toByteArray()
    return asked("/v1/devices", body, if (token == null) emptyMap() else mapOf("Authorization" to "Bearer $token"))
}

/** What the collector gives to the device of an id, or of whatever id if that is empty. */
private fun Collector.credentials(answer: Answer, deviceId: String): Dccl.Credentials {
    if (answer.status != 201 || answer.contentType != PROTOBUF) {
        throw RegistrationError("$address: expected credentials, got ${refusal(answer)}")
    }
    val credentials = try {
        Dccl.Credentials.parseFrom(answer.body)
    } catch (_: InvalidProtocolBufferException) {
        Dccl.Credentials.getDefaultInstance()
    }
    val asWanted = deviceId.isEmpty() || deviceId == credentials.deviceId
    if (credentials.key.size() != KEY_BYTES || !asWanted || !isId(credentials.deviceId)) {
        throw RegistrationError("$address: expected credentials, got ${answer.body.size} other bytes")
    }
    return credentials
}

private fun Collector.asked(call: String, body: ByteArray, headers: Map<String, String> = emptyMap()): Answer = try {
    post(call, body, headers)
} catch (error: IOException) {
    throw RegistrationError("$address: no answer (${error.message}); call again later", error)
}

/** What an answer that is not the one hoped for says. */
private fun refusal(answer: Answer): String {
    val detail = try {
        (Json.read(String(answer.body)) as? Map<*, *>)?.get("detail")
    } catch (_: IllegalArgumentException) {
        null
    }
    val taken = if (answer.status == 409) TAKEN else ""
    val later = answer.retryAfter?.let { "; call again in $it s" }.orEmpty()
    return "HTTP ${answer.status}${detail?.let { " ($it)" }.orEmpty()}$taken$later"
}

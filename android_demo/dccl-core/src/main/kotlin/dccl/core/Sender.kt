package dccl.core

import com.google.protobuf.ByteString

/** A device's side of uploading: makes the signed message, queues it, and gives out what waits. Not safe under threads. */
internal class Sender(
    private val folder: StateFolder,
    private val deviceId: String,
    private val key: ByteArray?,
    private val noise: UploadNoise?
) {
    /** Whether [queue] would make an upload that is not the newest one; never without a key. */
    fun isDue(state: DeviceState): Boolean =
        key != null && state.samples > 0 && folder.outbox.all().lastOrNull()?.digest != digest(state, key)

    /** See [Personalizer.upload]. An upload is made once of one vector: asked again, with the same noise. */
    fun queue(state: DeviceState): ByteArray {
        val key = requireKey()
        if (state.samples == 0L) {
            throw StateError("upload: the vector has not been trained in this bundle; call personalize() first")
        }
        val digest = digest(state, key)
        folder.outbox.all().lastOrNull()?.takeIf { it.digest == digest }?.let { return sign(it.content, key) }
        val sequence = folder.sequence + 1
        folder.save(state.copy(sequence = sequence)) // first: no number is used twice
        folder.saveSequence(sequence)
        val message = uploadMessage(state, deviceId, noise).toBuilder().setSequence(sequence).build().toByteString()
        folder.outbox.add(sequence, state.bundle, message, digest)
        return sign(message, key)
    }

    /** Whether what waits has to go on waiting: the server asked for a pause, or the key is being changed. */
    val isHeld: Boolean get() = folder.outbox.isHeld || folder.identity.isChangingKey

    /** The first upload that is to be sent, if any waits; with noise never one without. */
    fun next(): Queued? {
        if (noise != null) folder.outbox.withdrawExact()
        return folder.outbox.next()
    }

    /** The bytes that travel. */
    fun body(content: ByteString): ByteArray = sign(content, requireKey())

    private fun digest(state: DeviceState, key: ByteArray) = uploadDigest(uploadMessage(state, deviceId), key, noise)

    private fun requireKey(): ByteArray =
        key ?: throw StateError("upload: this device has no key; register it, or open it once with the key")
}

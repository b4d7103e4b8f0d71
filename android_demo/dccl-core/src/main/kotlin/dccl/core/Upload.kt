package dccl.core

import com.google.protobuf.ByteString
import dccl.Dccl
import java.security.MessageDigest
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

/** Bytes of a device's key, which the cloud gives at registration. */
const val KEY_BYTES = 32

/**
 * The message of docs/protocol.md, "Upload", as yet without its sequence number. With noise it says that there are
 * samples, not how many, and nothing of the held-out ones.
 */
internal fun uploadMessage(state: DeviceState, deviceId: String, noise: UploadNoise? = null): Dccl.VectorUpload {
    val message = Dccl.VectorUpload.newBuilder().setSchema(1).setDeviceId(deviceId).setBundle(state.bundle)
    if (noise != null) {
        return message.addAllVector(noise.apply(state.current.vector).asList()).setSamples(1).build()
    }
    val evidence = Dccl.Evidence.newBuilder()
        .setHeldoutSamples(state.evidence.heldoutSamples)
        .setCloudLoss((state.evidence.cloudLoss ?: 0.0).toFloat())
        .setPersonalLoss((state.evidence.personalLoss ?: 0.0).toFloat())
        .setGate(state.gate.toFloat())
    return message
        .addAllVector(state.current.vector.asList())
        .setSamples(state.samples)
        .setEvidence(evidence)
        .build()
}

/** 32 bytes of what an upload is made from, its exact message among it: equal ones, one upload. As in Python. */
internal fun uploadDigest(exact: Dccl.VectorUpload, key: ByteArray, noise: UploadNoise? = null): ByteString {
    val digest = MessageDigest.getInstance("SHA-256")
    val settings = noise?.toString() ?: "None"
    for (part in listOf(exact.toByteArray(), byteArrayOf(0), key, byteArrayOf(0), settings.toByteArray())) {
        digest.update(part)
    }
    return ByteString.copyFrom(digest.digest())
}

/** The body that travels: the message's bytes with their HMAC-SHA256 under the device's key. */
internal fun sign(upload: ByteString, key: ByteArray): ByteArray =
    Dccl.SignedUpload.newBuilder().setUpload(upload).setMac(mac("", upload, key)).build().toByteArray()

/** HMAC-SHA256 under a device's key, of what a message is for and then its bytes. */
internal fun mac(purpose: String, message: ByteString, key: ByteArray): ByteString {
    val mac = Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(key, "HmacSHA256")) }
    mac.update(purpose.toByteArray())
    return ByteString.copyFrom(mac.doFinal(message.toByteArray()))
}

package dccl.core

import com.google.protobuf.ByteString
import dccl.Dccl
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

/** Bytes of a device's key, which the cloud gives at registration. */
const val KEY_BYTES = 32

/** The message of docs/protocol.md, "Upload". */
internal fun uploadMessage(state: DeviceState, deviceId: String, sequence: Long): Dccl.VectorUpload {
    val evidence = Dccl.Evidence.newBuilder()
        .setHeldoutSamples(state.evidence.heldoutSamples)
        .setCloudLoss((state.evidence.cloudLoss ?: 0.0).toFloat())
        .setPersonalLoss((state.evidence.personalLoss ?: 0.0).toFloat())
        .setGate(state.gate.toFloat())
    return Dccl.VectorUpload.newBuilder()
        .setSchema(1)
        .setDeviceId(deviceId)
        .setBundle(state.bundle)
        .setSequence(sequence)
        .addAllVector(state.current.vector.asList())
        .setSamples(state.samples)
        .setEvidence(evidence)
        .build()
}

/** The body that travels: the message's bytes with their HMAC-SHA256 under the device's key. */
internal fun sign(upload: ByteString, key: ByteArray): ByteArray {
    val mac = Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(key, "HmacSHA256")) }
    return Dccl.SignedUpload.newBuilder()
        .setUpload(upload)
        .setMac(ByteString.copyFrom(mac.doFinal(upload.toByteArray())))
        .build()
        .toByteArray()
}

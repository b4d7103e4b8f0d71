package dccl.core

import com.google.protobuf.ByteString
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

/** What the held-out rows said when the gate was set. Losses are mean log losses, null without such rows. */
data class Evidence(
    val heldoutSamples: Int = 0,
    val cloudLoss: Double? = null, // gate 0
    val personalLoss: Double? = null // gate 1
)

/**
 * All that a device remembers besides its log.
 *
 * The file has the same bytes as that of the Python runtime (`device_runtime/state/device_state.py`), little-endian: 8 bytes
 * "DCCLDEV\0", uint32 schema, uint32 K, uint32 length of the JSON that follows, the JSON, float32 [4, K] (vector, first
 * moment, second moment, anchor), SHA-256 of all that is before it.
 */
data class DeviceState(
    val bundle: ByteString, // identity of the bundle that the vector belongs to
    val current: VectorState,
    val anchor: FloatArray, // [K], what `init` or `rebase` gave
    val gate: Double = 0.0,
    val sequence: Long = 0, // of the newest upload
    val samples: Long = 0, // rows that the vector was trained on
    val evidence: Evidence = Evidence(),
    val profile: Map<String, Any> = emptyMap(), // of String or Long
    val opening: String = "first", // how the vector came to this bundle: first, rebase, keep, reset or rollback
    val previousBundle: ByteString = ByteString.EMPTY
) {
    fun toBytes(): ByteArray {
        val facts = linkedMapOf(
            "bundle" to bundle.toByteArray().hex(),
            "step" to current.step.toDouble(),
            "gate" to gate,
            "sequence" to sequence,
            "samples" to samples,
            "evidence" to linkedMapOf(
                "heldout_samples" to evidence.heldoutSamples,
                "cloud_loss" to evidence.cloudLoss,
                "personal_loss" to evidence.personalLoss
            ),
            "profile" to profile,
            "opening" to opening,
            "previous_bundle" to previousBundle.toByteArray().hex()
        )
        val text = Json.write(facts).toByteArray(Charsets.US_ASCII)
        val size = HEADER + text.size + 16 * anchor.size
        val content = ByteBuffer.allocate(size + DIGEST).order(ByteOrder.LITTLE_ENDIAN)
        content.put(MAGIC).putInt(SCHEMA).putInt(anchor.size).putInt(text.size).put(text)
        for (part in listOf(current.vector, current.firstMoment, current.secondMoment, anchor)) {
            part.forEach { content.putFloat(it) }
        }
        content.put(sha256(content.array(), size))
        return content.array()
    }

    companion object {
        private const val SCHEMA = 1
        private const val HEADER = 20
        private const val DIGEST = 32
        private val MAGIC = "DCCLDEV\u0000".toByteArray(Charsets.US_ASCII)

        /** @throws StateError the bytes are not a whole state of this schema. */
        fun fromBytes(content: ByteArray): DeviceState {
            if (content.size < HEADER + DIGEST || !content.copyOf(MAGIC.size).contentEquals(MAGIC)) {
                throw StateError("not a device state (${content.size} bytes)")
            }
            val buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN)
            buffer.get(ByteArray(MAGIC.size))
            val schema = buffer.getInt()
            if (schema != SCHEMA) throw StateError("expected schema $SCHEMA, got ${schema.toUInt()}")
            val length = buffer.getInt().toUInt().toLong()
            val textSize = buffer.getInt().toUInt().toLong()
            val size = content.size - DIGEST
            if (size.toLong() != HEADER + textSize + 16 * length ||
                !sha256(content, size).contentEquals(content.copyOfRange(size, content.size))
            ) {
                throw StateError("damaged: its length or checksum is wrong")
            }
            val text = ByteArray(textSize.toInt()).also { buffer.get(it) }
            val (vector, first, second, anchor) = List(4) { FloatArray(length.toInt()) { buffer.getFloat() } }
            return try {
                of(Json.read(String(text, Charsets.US_ASCII)) as Map<*, *>, vector, first, second, anchor)
            } catch (error: RuntimeException) { // a fact is missing or of another type
                throw StateError("damaged: it does not hold what a state holds (${error.message})", error)
            }
        }

        private fun of(
            facts: Map<*, *>,
            vector: FloatArray,
            first: FloatArray,
            second: FloatArray,
            anchor: FloatArray
        ): DeviceState {
            fun text(name: String) = facts[name] as String
            val evidence = facts["evidence"] as Map<*, *>
            val state = DeviceState(
                bundle = ByteString.copyFrom(unhex(text("bundle"))),
                current = VectorState(vector, first, second, (facts["step"] as Double).toFloat()),
                anchor = anchor,
                gate = facts["gate"] as Double,
                sequence = facts["sequence"] as Long,
                samples = facts["samples"] as Long,
                evidence = Evidence(
                    (evidence["heldout_samples"] as Long).toInt(),
                    evidence["cloud_loss"] as Double?,
                    evidence["personal_loss"] as Double?
                ),
                profile = (facts["profile"] as Map<*, *>).entries.associate { (it.key as String) to it.value!! },
                opening = text("opening"),
                previousBundle = ByteString.copyFrom(unhex(text("previous_bundle")))
            )
            require(state.current.sound && anchor.all(Float::isFinite)) { "a value is not finite" }
            return state
        }

        private fun sha256(content: ByteArray, size: Int): ByteArray =
            MessageDigest.getInstance("SHA-256").run { update(content, 0, size).let { digest() } }
    }
}

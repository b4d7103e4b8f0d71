package dccl.core

import com.google.protobuf.ByteString
import dccl.Dccl
import java.nio.ByteOrder
import kotlin.math.abs

/** One output of one golden call; [difference] is the largest absolute one, infinite where a value is not finite. */
data class GoldenResult(val signature: String, val output: String, val difference: Float, val tolerance: Float) {
    val passed: Boolean get() = difference <= tolerance
}

/**
 * Replays a bundle's golden calls in order: does this phone's runtime compute what the exporter's did?
 *
 * @param runner a fresh one, made of [Bundle.model]: the calls build on each other.
 * @throws BundleError goldens.pb does not hold what it says, or holds no call.
 * @throws InputError a call does not fit the model's signatures.
 */
fun replayGoldens(bundle: Bundle, runner: CheckedRunner): List<GoldenResult> {
    if (bundle.goldens.callsCount == 0) {
        throw BundleError("goldens.pb: expected at least one call, got none; export the bundle again")
    }
    return bundle.goldens.callsList.flatMap { call ->
        val inputs = call.inputsList.map { it.name to tensor(it) }
        val outputs = runner.call(call.signature, *inputs.toTypedArray())
        call.outputsList.map { expected ->
            val got = outputs[expected.name] ?: throw BundleError(
                "goldens.pb: ${call.signature} has no output \"${expected.name}\"; export the bundle again"
            )
            val difference = difference(got, (tensor(expected) as? Floats)?.values ?: FloatArray(0))
            GoldenResult(call.signature, expected.name, difference, call.tolerance)
        }
    }
}

private fun tensor(tensor: Dccl.Tensor): Tensor {
    val bytes = tensor.shapeList.fold(4.0) { product, length -> product * length.toUInt().toDouble() } // never overflows
    if (tensor.dtype !in listOf("float32", "int32") || tensor.data.size().toDouble() != bytes) {
        throw BundleError(
            "goldens.pb: ${tensor.name}: expected ${tensor.shapeList} values of float32 or int32, got " +
                "${tensor.data.size()} bytes of ${tensor.dtype}; export the bundle again"
        )
    }
    val size = tensor.data.size() / 4
    val buffer = tensor.data.littleEndian()
    return if (tensor.dtype == "int32") {
        Ints(IntArray(size).also { buffer.asIntBuffer().get(it) })
    } else {
        Floats(FloatArray(size).also { buffer.asFloatBuffer().get(it) })
    }
}

private fun ByteString.littleEndian() = asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN)

private fun difference(got: FloatArray, expected: FloatArray): Float {
    if (got.size != expected.size) return Float.POSITIVE_INFINITY
    val largest = got.indices.maxOfOrNull { abs(got[it] - expected[it]) } ?: 0f
    return if (largest.isFinite()) largest else Float.POSITIVE_INFINITY
}

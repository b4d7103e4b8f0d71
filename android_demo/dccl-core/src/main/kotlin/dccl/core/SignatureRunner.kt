package dccl.core

import java.io.Closeable

/** What an input or an output holds: the protocol has no other types. */
enum class ElementType { FLOAT32, INT32 }

/** A named input or output of a signature. */
data class TensorSpec(val shape: List<Int>, val type: ElementType) {
    val size: Int get() = shape.fold(1, Int::times)
}

/** What a signature takes and gives, by name. */
data class SignatureSpec(val inputs: Map<String, TensorSpec>, val outputs: Map<String, TensorSpec>)

/** A value for an input, row-major. */
sealed interface Tensor {
    val size: Int
    val type: ElementType
}

class Floats(val values: FloatArray) : Tensor {
    override val size get() = values.size
    override val type get() = ElementType.FLOAT32
}

class Ints(val values: IntArray) : Tensor {
    override val size get() = values.size
    override val type get() = ElementType.INT32
}

/**
 * A loaded model whose signatures are run by name: what an app binds to its TFLite runtime (`dccl-android` binds
 * `org.tensorflow.lite.Interpreter`, `dccl-jvm` the LiteRT C library). It need not be safe under threads and need not
 * check what it is given: [CheckedRunner] does both.
 */
interface SignatureRunner : Closeable {
    /** Name and version, such as "tensorflow-lite 2.16.1". */
    val runtime: String
    val signatures: Map<String, SignatureSpec>

    /** Runs a signature on inputs of the right names, types and sizes; the outputs, all float32, are copies. */
    fun run(signature: String, inputs: Map<String, Tensor>): Map<String, FloatArray>
}

package dccl.android

import dccl.core.ElementType
import dccl.core.Floats
import dccl.core.Ints
import dccl.core.ModelError
import dccl.core.SignatureRunner
import dccl.core.SignatureSpec
import dccl.core.Tensor
import dccl.core.TensorSpec
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.TensorFlowLite

/**
 * Runs a model with `org.tensorflow.lite.Interpreter`, on the CPU: no GPU, no NNAPI, no Select TF ops. The file is
 * mapped, so a large item table costs only the pages that are read.
 *
 * @param threads of the kernels; one is fastest for models of this size.
 * @throws ModelError the interpreter cannot load the model.
 */
class InterpreterRunner(model: File, threads: Int = 1) : SignatureRunner {
    override val runtime = "tensorflow-lite ${TensorFlowLite.runtimeVersion()}"

    private val interpreter = try {
        Interpreter(model, Interpreter.Options().setNumThreads(threads))
    } catch (error: RuntimeException) { // IllegalArgument of the file, IllegalState of the tensors' memory
        throw ModelError("$model: $runtime cannot load it (${error.message}); export it again for this runtime", error)
    }

    override val signatures: Map<String, SignatureSpec>

    // Direct buffers of the signatures' own sizes, used again in every call.
    private val inputs: Map<String, Map<String, ByteBuffer>>
    private val outputs: Map<String, Map<String, ByteBuffer>>

    init {
        try {
            signatures = interpreter.signatureKeys.associateWith(::signature)
            inputs = signatures.mapValues { (_, it) -> buffers(it.inputs) }
            outputs = signatures.mapValues { (_, it) -> buffers(it.outputs) }
        } catch (error: Throwable) {
            interpreter.close() // nobody else could
            throw error
        }
    }

    override fun run(signature: String, inputs: Map<String, Tensor>): Map<String, FloatArray> {
        val from = this.inputs.getValue(signature)
        val to = outputs.getValue(signature)
        for ((name, buffer) in from) {
            when (val value = inputs.getValue(name)) {
                is Floats -> buffer.asFloatBuffer().put(value.values)
                is Ints -> buffer.asIntBuffer().put(value.values)
            }
        }
        interpreter.runSignature(from, to.mapValues { (_, buffer) -> view(buffer) }, signature)
        return to.mapValues { (_, buffer) ->
            FloatArray(buffer.capacity() / Float.SIZE_BYTES).also { buffer.asFloatBuffer().get(it) }
        }
    }

    override fun close() = interpreter.close()

    private fun signature(name: String) = SignatureSpec(
        inputs = interpreter.getSignatureInputs(name)
            .associateWith { spec(interpreter.getInputTensorFromSignature(it, name)) },
        outputs = interpreter.getSignatureOutputs(name)
            .associateWith { spec(interpreter.getOutputTensorFromSignature(it, name)) }
    )

    private fun buffers(specs: Map<String, TensorSpec>): Map<String, ByteBuffer> =
        specs.mapValues { ByteBuffer.allocateDirect(4 * it.value.size).order(ByteOrder.nativeOrder()) }

    /** The same memory from its beginning: what the interpreter writes to, it leaves at its end. */
    private fun view(buffer: ByteBuffer): ByteBuffer = buffer.duplicate().order(ByteOrder.nativeOrder())

    private fun spec(tensor: org.tensorflow.lite.Tensor): TensorSpec = when (val type = tensor.dataType()) {
        DataType.FLOAT32 -> TensorSpec(tensor.shape().toList(), ElementType.FLOAT32)
        DataType.INT32 -> TensorSpec(tensor.shape().toList(), ElementType.INT32)
        else -> throw ModelError("model: expected float32 and int32 tensors, got $type; export it again")
    }
}

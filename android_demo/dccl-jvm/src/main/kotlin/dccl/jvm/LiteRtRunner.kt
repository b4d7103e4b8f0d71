package dccl.jvm

import dccl.core.ElementType
import dccl.core.Floats
import dccl.core.Ints
import dccl.core.ModelError
import dccl.core.SignatureRunner
import dccl.core.SignatureSpec
import dccl.core.Tensor
import dccl.core.TensorSpec
import java.io.File
import java.lang.foreign.Arena
import java.lang.foreign.MemorySegment
import java.lang.foreign.ValueLayout.ADDRESS
import java.lang.foreign.ValueLayout.JAVA_FLOAT
import java.lang.foreign.ValueLayout.JAVA_INT
import java.nio.file.Path

/**
 * Runs a model on a plain JVM (22 or newer), on the CPU: for servers, tools and tests without a phone.
 *
 * @param library libLiteRt.so of LiteRT 2.3.
 * @throws ModelError LiteRT cannot load the model.
 */
class LiteRtRunner(library: Path, model: File) : SignatureRunner {
    override val runtime = "litert 2.3"
    private val litert = LiteRtLibrary(library)
    private val arena = Arena.ofShared()
    private val made = ArrayDeque<Pair<String, MemorySegment>>() // what to destroy, the newest first
    private val environment: MemorySegment
    private val compiled: MemorySegment
    private val prepared: Map<String, Prepared>
    override val signatures: Map<String, SignatureSpec>

    private class Buffer(val memory: MemorySegment, val spec: TensorSpec)

    private class Prepared(
        val index: Long,
        val inputs: Map<String, Buffer>,
        val outputs: Map<String, Buffer>,
        val inputArray: MemorySegment,
        val outputArray: MemorySegment
    )

    init {
        try {
            val path = arena.allocateFrom(model.path)
            environment = own("Environment", litert.create("LiteRtCreateEnvironment", 0, MemorySegment.NULL))
            val loaded = own("Model", litert.create("LiteRtCreateModelFromFile", environment, path))
            val options = own("Options", litert.create("LiteRtCreateOptions"))
            litert.call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
            compiled = own("CompiledModel", litert.create("LiteRtCreateCompiledModel", environment, loaded, options))
            val count = litert.size("LiteRtGetNumModelSignatures", loaded)
            prepared = (0 until count).associate { index ->
                val signature = litert.create("LiteRtGetModelSignature", loaded, index)
                litert.text("LiteRtGetSignatureKey", signature) to prepare(index, signature)
            }
            signatures = prepared.mapValues { (_, it) -> SignatureSpec(specs(it.inputs), specs(it.outputs)) }
        } catch (error: Throwable) {
            close() // nobody else could
            throw error
        }
    }

    override fun run(signature: String, inputs: Map<String, Tensor>): Map<String, FloatArray> {
        val chosen = prepared.getValue(signature)
        for ((name, buffer) in chosen.inputs) {
            locked(buffer, WRITE) { memory ->
                when (val value = inputs.getValue(name)) {
                    is Floats -> MemorySegment.copy(value.values, 0, memory, JAVA_FLOAT, 0, value.size)
                    is Ints -> MemorySegment.copy(value.values, 0, memory, JAVA_INT, 0, value.size)
                }
            }
        }
        litert.call(
            "LiteRtRunCompiledModel",
            compiled,
            chosen.index,
            chosen.inputs.size.toLong(),
            chosen.inputArray,
            chosen.outputs.size.toLong(),
            chosen.outputArray
        )
        return chosen.outputs.mapValues { (_, buffer) -> locked(buffer, READ) { it.toArray(JAVA_FLOAT) } }
    }

    override fun close() {
        while (made.isNotEmpty()) made.removeLast().let { (kind, thing) -> litert.destroy("LiteRtDestroy$kind", thing) }
        if (arena.scope().isAlive) arena.close() // closing twice does nothing
    }

    private fun own(kind: String, thing: MemorySegment): MemorySegment = thing.also { made.addLast(kind to it) }

    private fun specs(buffers: Map<String, Buffer>) = buffers.mapValues { it.value.spec }

    private fun prepare(index: Long, signature: MemorySegment): Prepared {
        val inputs = buffers("Input", index, signature)
        val outputs = buffers("Output", index, signature)
        return Prepared(index, inputs, outputs, array(inputs), array(outputs))
    }

    private fun buffers(side: String, index: Long, signature: MemorySegment): Map<String, Buffer> {
        val count = litert.size("LiteRtGetNumSignature${side}s", signature)
        return (0 until count).associate { number ->
            val tensor = litert.create("LiteRtGetSignature${side}TensorByIndex", signature, number)
            // LiteRtRankedTensorType: int32 element type, uint32 with the rank in 7 bits, int32 sizes[8], strides[8].
            val type = arena.allocate(128, 8)
            litert.call("LiteRtGetRankedTensorType", tensor, type)
            val shape = List(type.get(JAVA_INT, 4) and 127) { type.get(JAVA_INT, 8 + 4L * it) }
            val requirements = "LiteRtGetCompiledModel${side}BufferRequirements"
            val needed = litert.create(requirements, compiled, index, number)
            val create = "LiteRtCreateManagedTensorBufferFromRequirements"
            val memory = own("TensorBuffer", litert.create(create, environment, type, needed))
            val spec = TensorSpec(shape, elementType(type.get(JAVA_INT, 0)))
            litert.text("LiteRtGetSignature${side}Name", signature, number) to Buffer(memory, spec)
        }
    }

    private fun elementType(code: Int): ElementType = when (code) {
        FLOAT32 -> ElementType.FLOAT32
        INT32 -> ElementType.INT32
        else -> throw ModelError("model: expected float32 and int32 tensors, got element type $code; export it again")
    }

    private fun array(buffers: Map<String, Buffer>): MemorySegment {
        val result = arena.allocate(ADDRESS, maxOf(1, buffers.size).toLong())
        buffers.values.forEachIndexed { place, buffer -> result.setAtIndex(ADDRESS, place.toLong(), buffer.memory) }
        return result
    }

    private fun <R> locked(buffer: Buffer, mode: Int, use: (MemorySegment) -> R): R {
        val address = Arena.ofConfined().use { own ->
            val out = own.allocate(ADDRESS)
            litert.call("LiteRtLockTensorBuffer", buffer.memory, out, mode)
            out.get(ADDRESS, 0)
        }
        return try {
            use(address.reinterpret(4L * buffer.spec.size))
        } finally {
            litert.call("LiteRtUnlockTensorBuffer", buffer.memory)
        }
    }

    private companion object {
        // Values of the C headers' enumerations.
        const val CPU = 1
        const val READ = 0
        const val WRITE = 1
        const val FLOAT32 = 1
        const val INT32 = 2
    }
}

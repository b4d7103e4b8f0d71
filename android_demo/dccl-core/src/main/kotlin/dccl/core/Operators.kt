package dccl.core

import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/**
 * Refuses a model that plain TFLite cannot run, in words: the interpreters answer such files with a C++ message or a
 * crash. Reads a few pages of the flatbuffer; fields are those of tensorflow/lite/schema/schema.fbs.
 *
 * @throws UnsupportedOperatorError the model needs the Flex delegate or a custom operator.
 * @throws ModelError the file is not a whole .tflite file.
 */
fun requireBuiltins(model: File) {
    val custom = try {
        val buffer = RandomAccessFile(model, "r").use { it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.length()) }
        customOperators(buffer.order(ByteOrder.LITTLE_ENDIAN))
    } catch (error: IOException) {
        throw ModelError("$model: cannot be read (${error.message}); download or export it again", error)
    } catch (error: IndexOutOfBoundsException) {
        throw ModelError("$model: cut short or damaged (${error.message}); download or export it again", error)
    }
    val flex = custom.filter { it.startsWith("Flex") }
    if (flex.isNotEmpty()) {
        throw UnsupportedOperatorError(
            "$model: needs the Flex delegate for ${flex.sorted().joinToString()}, which plain TFLite does not carry; " +
                "export it again with this toolkit"
        )
    }
    if (custom.isNotEmpty()) {
        throw UnsupportedOperatorError(
            "$model: needs the custom operators ${custom.sorted().joinToString()}, which plain TFLite does not " +
                "carry; export it again with this toolkit"
        )
    }
}

/**
 * Refuses a bundle whose operator versions were certified for a newer runtime than the one at hand.
 *
 * @param oldest the manifest's `oldest_runtime`, such as "tflite-runtime 2.14.0".
 * @param runtime what [SignatureRunner.runtime] says. Runtimes of unknown names are let through: the goldens decide.
 */
internal fun requireRuntime(oldest: String, runtime: String) {
    val needed = versionOf(oldest) ?: return
    val here = versionOf(runtime) ?: return
    if (compareValuesBy(here, needed, { it[0] }, { it[1] }, { it[2] }) < 0) {
        throw BundleError(
            "manifest.pb: expected $oldest or newer for this model's operators, got $runtime; " +
                "update the app's TFLite dependency, or export for an older runtime"
        )
    }
}

/** (family, major, minor): TensorFlow Lite's own numbers, then LiteRT's, which came after them. */
private fun versionOf(runtime: String): List<Int>? {
    val (name, version) = runtime.split(' ', limit = 2).takeIf { it.size == 2 } ?: return null
    val family = when (name) {
        "tflite-runtime", "tensorflow-lite", "tensorflow" -> 0
        "ai-edge-litert", "litert" -> 1
        else -> return null
    }
    val numbers = version.split('.').map { it.toIntOrNull() ?: return null }
    return listOf(family, numbers[0], numbers.getOrElse(1) { 0 })
}

private const val CUSTOM = 32 // BuiltinOperator of the schema
private const val PLACEHOLDER = 127 // the largest code of the old int8 field; larger ones stand in an int32 field

private fun customOperators(buffer: ByteBuffer): List<String> {
    if (buffer.getInt(4) != 0x334C4654) { // "TFL3"
        throw ModelError(
            "model: expected a .tflite file, got ${buffer.limit()} bytes of something else; export it again"
        )
    }
    val names = ArrayList<String>()
    for (code in Table(buffer, buffer.getInt(0)).tables(1)) { // Model: 1 operator_codes
        // OperatorCode: 0 deprecated_builtin_code, 1 custom_code, 3 builtin_code.
        val old = code.at(0)?.let { buffer.get(it).toInt() } ?: 0
        val new = code.at(3)?.let { buffer.getInt(it) } ?: 0
        val number = if (old < PLACEHOLDER && new == 0) old else maxOf(old, new)
        if (number == CUSTOM) names += code.text(1)
    }
    return names
}

/** A flatbuffer table: fields by number, each absent or at an absolute position. */
private class Table(private val buffer: ByteBuffer, private val position: Int) {
    private val vtable = position - buffer.getInt(position)

    fun at(field: Int): Int? {
        val entry = 4 + 2 * field
        if (entry >= buffer.getShort(vtable).toInt() and 0xFFFF) return null
        val offset = buffer.getShort(vtable + entry).toInt() and 0xFFFF
        return if (offset == 0) null else position + offset
    }

    fun tables(field: Int): List<Table> {
        val start = at(field)?.let { it + buffer.getInt(it) } ?: return emptyList()
        val size = buffer.getInt(start)
        if (size < 0 || size > buffer.limit() / 4) throw IndexOutOfBoundsException("$size tables at $start")
        return List(size) { number -> (start + 4 + 4 * number).let { Table(buffer, it + buffer.getInt(it)) } }
    }

    fun text(field: Int): String {
        val start = at(field)?.let { it + buffer.getInt(it) } ?: return ""
        return String(ByteArray(buffer.getInt(start).coerceIn(0, buffer.limit())) { buffer.get(start + 4 + it) })
    }
}

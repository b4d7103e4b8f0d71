package dccl.core

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException

private const val LONGEST = 128 // characters

/** The cloud's rule for the id of a device: 1 to 128 printable characters, no space at either end. */
internal fun isId(value: String): Boolean {
    val characters = value.codePoints().toArray()
    return characters.size in 1..LONGEST && characters.all(::isPrintable) && value == value.trim(' ')
}

/** Throws InputError unless it is null or what the cloud takes for an id. */
internal fun checkId(value: String?) {
    if (value != null && !isId(value)) {
        throw InputError("device_id: expected 1 to $LONGEST printable characters, got \"$value\"")
    }
}

/** A stored id; null if nothing is stored, or what is stored is no id. */
internal fun readId(content: ByteArray): String? = try {
    Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString().trim().takeIf(::isId)
} catch (_: CharacterCodingException) {
    null
}

/** As Python's `isprintable`: the space alone of what is a separator, and nothing that Unicode calls other. */
private fun isPrintable(character: Int): Boolean = character == ' '.code ||
    when (Character.getType(character).toByte()) {
        Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.PRIVATE_USE, Character.UNASSIGNED,
        Character.SPACE_SEPARATOR, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR -> false

        else -> true
    }

package dccl.core

/**
 * The JSON of the state file: objects, strings, numbers and null, written byte for byte as Python's `json.dumps` with
 * separators "," and ":" writes them. Whole numbers are Long, others Double; an object keeps the order of its keys.
 * Lists, which certificates have, are read alone. What is read nests at most 100 deep.
 */
internal object Json {
    fun write(value: Any?): String = StringBuilder().also { write(value, it) }.toString()

    /** @throws IllegalArgumentException the text is not such JSON. */
    fun read(text: String): Any? = Reader(text).whole()

    private fun write(value: Any?, out: StringBuilder) {
        when (value) {
            null -> out.append("null")
            is Boolean -> out.append(value)

            is Int, is Long -> out.append(value)
            is Double -> out.append(shortestText(value))

            is String -> quote(value, out)
            is Map<*, *> -> {
                out.append('{')
                value.entries.forEachIndexed { number, (key, item) ->
                    if (number > 0) out.append(',')
                    quote(key as String, out)
                    out.append(':')
                    write(item, out)
                }
                out.append('}')
            }
            else -> throw IllegalArgumentException("JSON of a ${value::class.simpleName}")
        }
    }

    private fun quote(text: String, out: StringBuilder) {
        out.append('"')
        for (char in text) {
            val escaped = ESCAPES.indexOf(char)
            when {
                escaped >= 0 -> out.append('\\').append(LETTERS[escaped])
                char in ' '..'~' -> out.append(char)
                else -> out.append("\\u").append(char.code.toString(16).padStart(4, '0'))
            }
        }
        out.append('"')
    }

    private const val ESCAPES = "\"\\\n\r\t\b\u000c"
    private const val LETTERS = "\"\\nrtbf"
    private const val DEEPEST = 100

    private class Reader(private val text: String) {
        private var at = 0
        private var depth = 0

        fun whole(): Any? = value().also {
            space()
            require(at == text.length) { "more after the end, at $at" }
        }

        private fun value(): Any? {
            space()
            require(depth++ < DEEPEST) { "nested too deep at $at" } // before the stack overflows
            return when (peek()) {
                '{' -> map()
                '[' -> list()
                '"' -> string()
                else -> word()
            }.also { depth-- }
        }

        private fun map(): Map<String, Any?> {
            expect('{')
            val result = LinkedHashMap<String, Any?>()
            space()
            if (peek() == '}') return result.also { at++ }
            while (true) {
                space()
                val key = string()
                space()
                expect(':')
                result[key] = value()
                space()
                if (peek() == '}') return result.also { at++ }
                expect(',')
            }
        }

        private fun list(): List<Any?> {
            expect('[')
            val result = ArrayList<Any?>()
            space()
            if (peek() == ']') return result.also { at++ }
            while (true) {
                result += value()
                space()
                if (peek() == ']') return result.also { at++ }
                expect(',')
            }
        }

        private fun string(): String {
            expect('"')
            val result = StringBuilder()
            while (peek() != '"') {
                val char = text[at++]
                result.append(if (char == '\\') escaped() else char)
            }
            at++
            return result.toString()
        }

        private fun escaped(): Char {
            val letter = peek().also { at++ }
            if (letter == 'u') {
                require(at + 4 <= text.length) { "cut short at $at" }
                return text.substring(at, at + 4).toInt(16).toChar().also { at += 4 }
            }
            if (letter == '/') return letter
            return ESCAPES[LETTERS.indexOf(letter).also { require(it >= 0) { "unknown escape at $at" } }]
        }

        private fun word(): Any? {
            val start = at
            while (at < text.length && text[at] !in ",}] \n\r\t") at++
            return when (val word = text.substring(start, at)) {
                "null" -> null
                "true" -> true
                "false" -> false
                "NaN" -> Double.NaN
                "Infinity" -> Double.POSITIVE_INFINITY
                "-Infinity" -> Double.NEGATIVE_INFINITY
                else -> word.toLongOrNull() ?: word.toDouble()
            }
        }

        private fun peek(): Char {
            require(at < text.length) { "cut short at $at" }
            return text[at]
        }

        private fun expect(char: Char) {
            require(peek() == char) { "expected '$char' at $at" }
            at++
        }

        private fun space() {
            while (at < text.length && text[at] in " \n\r\t") at++
        }
    }
}

package dccl.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class JsonTest {
    @Test
    fun `text is escaped as Python escapes it`() {
        val value = mapOf("a" to "\"\\\n\t\u0001\u007f é \uD83D\uDE00/", "n" to null, "i" to 3L, "f" to 0.5)
        // json.dumps({"a": "\"\\\n\t\x01\x7f é 😀/", "n": None, "i": 3, "f": 0.5}, separators=(",", ":"))
        val expected = """{"a":"\"\\\n\t\u0001\u007f \u00e9 \ud83d\ude00/","n":null,"i":3,"f":0.5}"""
        assertEquals(expected, Json.write(value))
    }

    @Test
    fun `what was written is read back`() {
        val value = mapOf(
            "a" to "é\"\\",
            "m" to mapOf("n" to null, "i" to -3L, "f" to 1e-05),
            "e" to emptyMap<String, Any>()
        )
        assertEquals(value, Json.read(Json.write(value)))
    }

    @Test
    fun `lists are read`() {
        val expected = mapOf("checks" to listOf(mapOf("passed" to true), 1L, emptyList<Any>()))
        assertEquals(expected, Json.read("""{"checks": [ {"passed": true}, 1,[] ]}"""))
    }

    @Test
    fun `a hundred levels are read, one more is refused`() {
        Json.read("[".repeat(100) + "]".repeat(100))
        assertThrows(IllegalArgumentException::class.java) { Json.read("[".repeat(101) + "]".repeat(101)) }
    }

    @Test
    fun `damaged text is refused`() {
        val damaged = listOf("", "{", "[", "[1", "[1,", "[1 2]") +
            listOf("{'a'", "{'a':", "{'a':1", "{'a':1}x", "{'a':'\\q'}", "{'a':x}", "'\\u12")
        for (text in damaged.map { it.replace('\'', '"') }) {
            assertThrows(IllegalArgumentException::class.java) { Json.read(text) }
        }
    }
}

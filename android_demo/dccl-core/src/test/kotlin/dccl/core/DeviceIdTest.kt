package dccl.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

/** The same answers as of `isprintable` and `strip` in Python. */
class DeviceIdTest {
    @Test
    fun `printable texts of 1 to 128 characters are ids`() {
        val emoji = "\uD83D\uDE00" // one character in two chars
        for (id in listOf("d", "d 1", "né", "a".repeat(128), emoji.repeat(128))) assertTrue(id, isId(id))
        for (id in listOf("", "a".repeat(129), emoji.repeat(129))) assertFalse(id, isId(id))
    }

    @Test
    fun `controls, odd spaces, marks of direction and half characters are no ids`() {
        for (id in listOf(" d", "d ", "a\nb", "a\u00a0b", "a\u202eb", "a\u2028b", "a\uD83Db", "a\uE000b")) {
            assertFalse(id, isId(id))
        }
    }

    @Test
    fun `a stored id may end with a line, and must be UTF-8`() {
        assertEquals("d1", readId("d1\n".toByteArray()))
        assertNull(readId(ByteArray(2)))
        assertNull(readId(byteArrayOf(0xC3.toByte(), 0x28)))
    }
}

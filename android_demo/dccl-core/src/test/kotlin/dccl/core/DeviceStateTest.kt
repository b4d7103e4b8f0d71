package dccl.core

import com.google.protobuf.ByteString
import kotlin.random.Random
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class DeviceStateTest {
    private val vector = floatArrayOf(0.1f, -2f)
    private val state = DeviceState(
        bundle = ByteString.copyFrom(ByteArray(32) { it.toByte() }),
        current = VectorState(vector, floatArrayOf(1f, 2f), floatArrayOf(3f, 4f), 7f),
        anchor = floatArrayOf(5f, 6f),
        gate = 1.0,
        sequence = 3,
        samples = 12,
        evidence = Evidence(4, 0.7, null),
        profile = linkedMapOf("age" to "old", "size" to 3L)
    )

    @Test
    fun `a state comes back as it was`() {
        val back = DeviceState.fromBytes(state.toBytes())
        assertArrayEquals(vector, back.current.vector, 0f)
        assertEquals(7f, back.current.step)
        assertArrayEquals(state.anchor, back.anchor, 0f)
        assertEquals(state.evidence, back.evidence)
        assertEquals(state.profile, back.profile)
        assertArrayEquals(state.toBytes(), back.toBytes())
    }

    @Test
    fun `another schema is named`() {
        for (schema in listOf(0, 99)) {
            val bytes = state.toBytes().also { it[8] = schema.toByte() }
            val error = assertThrows(StateError::class.java) { DeviceState.fromBytes(bytes) }
            assertTrue(error.message!!.contains("got $schema"))
        }
    }

    @Test
    fun `no damage gets through`() {
        val whole = state.toBytes()
        val random = Random(0)
        val damaged = whole.indices.map { whole.copyOf(it) } +
            whole.indices.map { place -> whole.copyOf().also { it[place] = (it[place].toInt() xor 0x10).toByte() } } +
            List(200) { random.nextBytes(random.nextInt(4096)) }
        for (bytes in damaged) assertThrows(StateError::class.java) { DeviceState.fromBytes(bytes) }
    }
}

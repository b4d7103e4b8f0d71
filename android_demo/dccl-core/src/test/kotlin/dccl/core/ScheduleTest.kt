package dccl.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ScheduleTest {
    @Test
    fun `mix64 of 0 is the protocol's`() = assertEquals(0xE220A8397B1DCDAFu, mix64(0u))

    @Test
    fun `an epoch visits every row once, in an order of its own`() {
        val first = trainingSchedule(rows = 10, batch = 4, epoch = 0)
        assertEquals(listOf(4, 4, 2), first.map { it.size })
        assertEquals((0 until 10).toList(), first.flatten().sorted())
        assertEquals(false, first == trainingSchedule(rows = 10, batch = 4, epoch = 1))
    }

    @Test
    fun `rows go by their keys`() {
        val start = mix64(5u + (2uL shl 32)) // seed 5, epoch 2
        val keys = (0 until 6).associateWith { mix64(start + it.toULong()) }
        assertEquals(
            keys.entries.sortedBy {
                it.value
            }.map { it.key },
            trainingSchedule(6, 6, epoch = 2, seed = 5).single()
        )
    }

    @Test
    fun `no rows, no batches`() = assertEquals(emptyList<List<Int>>(), trainingSchedule(0, 4, 0))

    @Test
    fun `0_7 of 10 interactions is 7, though the float32 is a little less`() {
        val heldout = heldoutRows(IntArray(10) { it }, 0.7f)
        assertEquals(7, heldout.count { it })
        assertEquals(false, heldout[2])
        assertEquals(true, heldout[3])
    }

    @Test
    fun `a click never parts from what was skipped beside it`() {
        // Interactions 2, 5 and 9; a third of three is one.
        val expected = booleanArrayOf(false, false, false, true, true)
        assertArrayEquals(expected, heldoutRows(intArrayOf(2, 2, 5, 9, 9), 0.34f))
    }

    @Test
    fun `a share outside 0 to 1 is refused`() {
        for (share in listOf(-0.1f, 1f, Float.NaN)) {
            assertThrows(InputError::class.java) { heldoutRows(intArrayOf(0), share) }
        }
    }
}

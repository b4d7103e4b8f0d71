package dccl.core

import dccl.Dccl
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class RowsTest {
    // Raw ids 30, 10, 20 are model ids 1, 2, 3; 4 is out of vocabulary.
    private val vocabulary = Vocabulary(Dccl.Vocabulary.newBuilder().addAllIntIds(listOf(30L, 10L, 20L)).build())

    private fun ids(vararg values: Int) = values.map { RawId(it) }

    @Test
    fun `known ids are found, others share one`() {
        assertArrayEquals(intArrayOf(2, 1, 4, 4), vocabulary.encode(ids(10, 30, 99, Int.MAX_VALUE)))
        assertEquals(4, vocabulary.encode(RawId("10")))
        assertEquals(ids(30, 10, 20), vocabulary.ids)
    }

    @Test
    fun `a negative id and one of another kind are refused`() {
        for (id in listOf(RawId(-1), RawId("10"))) {
            val error = assertThrows(InputError::class.java) { vocabulary.check("item", listOf(id)) }
            assertEquals(true, error.message!!.startsWith("item: expected "))
        }
    }

    @Test
    fun `an id that stands twice is refused`() {
        val twice = Dccl.Vocabulary.newBuilder().addIntIds(1).addIntIds(1).build()
        assertThrows(BundleError::class.java) { Vocabulary(twice) }
    }

    @Test
    fun `a history is right-aligned and cut to the newest`() {
        val history = History(ids(10, 20, 30), intArrayOf(1, 0, 1))
        val (padded, labels) = encodeHistory(history, vocabulary, 5)
        assertArrayEquals(intArrayOf(0, 0, 2, 3, 1), padded)
        assertArrayEquals(intArrayOf(0, 0, 1, 0, 1), labels)
        assertArrayEquals(intArrayOf(3, 1), encodeHistory(history, vocabulary, 2).first)
        assertArrayEquals(intArrayOf(0, 0), encodeHistory(History(emptyList(), IntArray(0)), vocabulary, 2).first)
    }

    @Test
    fun `negatives stand after their click and are new to the user`() {
        val history = History(ids(10, 20), intArrayOf(1, 1))
        val logged = LoggedSamples(history, ids(10, 20, 99), floatArrayOf(1f, 1f, 0f), intArrayOf(0, 1, 1))
        val rows = encodeRows(logged, vocabulary, historyLength = 2, negatives = 3)
        // Only the first click stands alone, and only model id 1 was never met.
        assertArrayEquals(intArrayOf(2, 1, 3, 4), rows.candidates)
        assertArrayEquals(floatArrayOf(1f, 0f, 1f, 0f), rows.labels, 0f)
        assertArrayEquals(intArrayOf(0, 0, 1, 1), rows.at)
    }

    @Test
    fun `what was met before the history begins is no negative`() {
        val history = History(ids(10), intArrayOf(1))
        val logged = LoggedSamples(history, ids(10), floatArrayOf(1f), intArrayOf(0), met = ids(10, 30))
        val rows = encodeRows(logged, vocabulary, historyLength = 2, negatives = 3)
        assertArrayEquals(intArrayOf(2, 3), rows.candidates) // of model ids 1, 2, 3 one is left
    }

    @Test
    fun `a call of encode takes one row of each of B neighbours`() {
        // Interactions 0, 0, 1, 3, 3, 3 and B = 3: first rows of 0 and 1, of 3; second rows of 0, of 3; the third of 3.
        val expected = listOf(listOf(0, 2), listOf(3), listOf(1), listOf(4), listOf(5))
        assertEquals(expected, windows(intArrayOf(0, 0, 1, 3, 3, 3), batch = 3))
    }
}

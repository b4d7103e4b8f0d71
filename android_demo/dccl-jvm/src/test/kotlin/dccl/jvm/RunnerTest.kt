package dccl.jvm

import dccl.core.Batch
import dccl.core.CheckedRunner
import dccl.core.Engine
import dccl.core.Floats
import dccl.core.InputError
import dccl.core.Ints
import org.junit.After
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class RunnerTest {
    private val runner: CheckedRunner = Fixtures.runner()

    @After
    fun close() = runner.close()

    private fun set(vector: FloatArray) = runner.call(
        "set",
        "vector" to Floats(vector),
        "first_moment" to Floats(FloatArray(4)),
        "second_moment" to Floats(FloatArray(4)),
        "step" to Floats(FloatArray(1))
    )

    private fun vector() = runner.call("get", "unused" to Floats(FloatArray(1))).getValue("vector")

    @Test
    fun `a vector of another length is refused before the runtime sees it`() { // D1
        val before = floatArrayOf(1f, 2f, 3f, 4f).also { set(it) }
        for (length in listOf(0, 1, 3, 5, 600, 1_000_000)) {
            val error = assertThrows(InputError::class.java) { set(FloatArray(length)) }
            assertTrue(error.message!!, error.message == "set: vector: expected 4 values of shape [4], got $length")
        }
        assertArrayEquals(before, vector(), 0f)
    }

    @Test
    fun `a vector that is not finite is refused`() { // D1
        for (value in listOf(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)) {
            val error = assertThrows(InputError::class.java) { set(floatArrayOf(0f, 0f, value, 0f)) }
            assertTrue(error.message!!.endsWith("got $value at position 2"))
        }
    }

    @Test
    fun `another type, an unknown name and a missing input are named`() {
        fun refused(vararg inputs: Pair<String, dccl.core.Tensor>) =
            assertThrows(InputError::class.java) { runner.call("get", *inputs) }.message!!
        assertTrue(refused("unused" to Ints(IntArray(1))).endsWith("expected FLOAT32, got INT32"))
        assertTrue(refused("unsued" to Floats(FloatArray(1))).endsWith("did you mean \"unused\"?"))
        assertTrue(refused().endsWith("got none for unused"))
        assertTrue(assertThrows(InputError::class.java) { runner.call("gte") }.message!!.contains("\"get\""))
    }

    @Test
    fun `a label or a weight outside its range is refused and leaves the vector`() { // D3
        val bundle = Fixtures.bundle()
        val engine = Engine(runner, bundle.manifest)
        val state = engine.start(intArrayOf(1))
        val hidden = FloatArray(4 * bundle.manifest.encodedWidth)

        fun refused(labels: FloatArray, weights: FloatArray) = assertThrows(InputError::class.java) {
            engine.train(state, Batch(hidden, labels, weights), 0.1f, state.vector, 0f)
        }
        for (label in listOf(Float.NaN, Float.POSITIVE_INFINITY, 2f, -1f)) {
            refused(floatArrayOf(0f, 1f, label, 0f), FloatArray(4) { 1f })
        }
        for (weight in listOf(Float.NaN, -1f)) refused(FloatArray(4), floatArrayOf(weight, 1f, 1f, 1f))
        assertArrayEquals(state.vector, vector(), 0f)
    }

    @Test
    fun `kept outputs of earlier calls do not change`() { // D16
        set(floatArrayOf(1f, 2f, 3f, 4f))
        val kept = vector()
        set(FloatArray(4))
        assertArrayEquals(floatArrayOf(1f, 2f, 3f, 4f), kept, 0f)
        assertArrayEquals(FloatArray(4), vector(), 0f)
    }
}

package dccl.core

import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class OperatorsTest {
    @Test
    fun `a bundle for a newer runtime is refused`() {
        for ((oldest, here) in listOf(
            "tflite-runtime 2.17.0" to "tensorflow-lite 2.16.1",
            "ai-edge-litert 1.0" to "tensorflow-lite 2.16.1"
        )) {
            val error = assertThrows(BundleError::class.java) { requireRuntime(oldest, here) }
            assertTrue(error.message!!.contains(oldest) && error.message!!.contains(here))
        }
    }

    @Test
    fun `the same or an older one is accepted, and so is a runtime of another name`() {
        requireRuntime("tflite-runtime 2.14.0", "tensorflow-lite 2.16.1")
        requireRuntime("tflite-runtime 2.16.1", "tensorflow-lite 2.16.1")
        requireRuntime("tflite-runtime 2.14.0", "litert 2.3")
        requireRuntime("tflite-runtime 2.14.0", "of-our-own 1")
    }

    @Test
    fun `an unknown name is answered with a near one`() {
        val known = listOf("history", "profile")
        assertTrue(unknownName("input", "histroy", known).endsWith("did you mean \"history\"?"))
        assertTrue(unknownName("input", "zzzzzzzzz", known).endsWith("expected one of history, profile"))
    }
}

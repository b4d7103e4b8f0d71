package dccl.jvm

import dccl.Dccl
import dccl.core.Answer
import dccl.core.Bundle
import dccl.core.InputError
import dccl.core.Personalizer
import dccl.core.UploadNoise
import java.io.File
import kotlin.math.sqrt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class NoiseTest : DeviceTests() {
    private val noise = UploadNoise(clipNorm = 1.0, noiseMultiplier = 0.5)

    private fun noisy(use: (Personalizer) -> Unit) =
        Personalizer.open(home, null, Fixtures.runners, Fixtures.databases, noise = noise).use(use)

    private fun message(body: ByteArray) = Dccl.VectorUpload.parseFrom(Dccl.SignedUpload.parseFrom(body).upload)

    @Test
    fun `a vector is cut to its norm`() {
        val cut = UploadNoise(clipNorm = 1.0, noiseMultiplier = 1e-9).apply(floatArrayOf(3f, 4f)) // of norm 5
        assertArrayEquals(floatArrayOf(0.6f, 0.8f), cut, 1e-6f)
        val whole = UploadNoise(clipNorm = 6.0, noiseMultiplier = 1e-9).apply(floatArrayOf(3f, 4f))
        assertArrayEquals(floatArrayOf(3f, 4f), whole, 1e-6f)
    }

    @Test
    fun `the noise has the deviation that was asked for`() {
        val drawn = UploadNoise(clipNorm = 2.0, noiseMultiplier = 1.5).apply(FloatArray(40_000))
        val deviation = sqrt(drawn.sumOf { it.toDouble() * it } / drawn.size)
        assertEquals(3.0, deviation, 0.1) // ten times its own error, 3 / sqrt(2 * 40,000)
    }

    @Test
    fun `noise that is none is refused`() {
        for (value in listOf(0.0, -1.0, Double.NaN, Double.POSITIVE_INFINITY)) {
            assertThrows(InputError::class.java) { UploadNoise(value, 1.0) }
            assertThrows(InputError::class.java) { UploadNoise(1.0, value) }
        }
    }

    @Test
    fun `an upload with noise tells nothing of the samples, and is made once`() {
        trained { }
        noisy {
            val body = it.upload()
            assertArrayEquals(body, it.upload())
            assertFalse(it.uploadIsDue)
            val sent = message(body)
            assertEquals(listOf(1L, false, 1L), listOf(sent.samples, sent.hasEvidence(), sent.sequence))
            assertFalse(sent.vectorList == it.vector.asList())
        }
    }

    @Test
    fun `no exact upload that waits is sent once there is noise`() {
        trained {
            it.upload() // exact, of the bundle before
            it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next"))))
            it.personalize()
        }
        noisy {
            it.upload()
            val sent = ArrayList<Dccl.VectorUpload>()
            assertTrue(
                it.send { body ->
                    val number = message(body).also(sent::add).sequence
                    val receipt = Dccl.Receipt.newBuilder().setStatus(Dccl.Receipt.Status.ACCEPTED).setSequence(number)
                    Answer(200, receipt.build().toByteArray())
                }
            )
            assertEquals(listOf(2L to false), sent.map { one -> one.sequence to one.hasEvidence() })
            assertEquals(listOf("superseded", "accepted"), it.uploads.map { one -> one.status })
        }
    }
}

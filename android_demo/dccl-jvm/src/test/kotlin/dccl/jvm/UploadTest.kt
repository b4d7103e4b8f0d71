package dccl.jvm

import dccl.Dccl
import dccl.core.PersonalizeConfig
import dccl.core.Personalizer
import dccl.core.StateError
import dccl.core.Transport
import java.io.File
import java.io.IOException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class UploadTest : DeviceTests() {
    private fun receipt(body: ByteArray): Dccl.Receipt = Dccl.Receipt.newBuilder()
        .setStatus(Dccl.Receipt.Status.ACCEPTED)
        .setSequence(Dccl.VectorUpload.parseFrom(Dccl.SignedUpload.parseFrom(body).upload).sequence)
        .build()

    @Test
    fun `an upload waits until the cloud has it`() {
        trained {
            assertEquals(0, it.uploads.size)
            val body = it.upload()
            assertFalse(it.send { throw IOException("no network") })
            assertFalse(it.send { "<html>".toByteArray() })
            assertEquals(listOf("queued" to 2), it.uploads.map { one -> one.status to one.attempts })
            assertEquals(2L * body.size, it.uploads[0].bytesSent)
        }
        device {
            val sent = ArrayList<ByteArray>()
            assertTrue(it.send { body -> receipt(body.also { sent += it }).toByteArray() })
            assertEquals(1, sent.size)
            assertEquals("accepted", it.uploads[0].status)
            assertTrue(it.send(Transport { throw IOException("nothing is left to send") }))
        }
    }

    @Test
    fun `only the newest upload of a bundle is sent, under a number of its own`() = trained {
        it.upload()
        it.upload()
        val numbers = ArrayList<Long>()
        it.send { body -> receipt(body).also { answer -> numbers += answer.sequence }.toByteArray() }
        assertEquals(listOf(2L), numbers)
        assertEquals(listOf("superseded", "accepted"), it.uploads.map { one -> one.status })
    }

    @Test
    fun `the same vector is news once`() {
        device { assertFalse(it.uploadIsDue) }
        trained {
            assertTrue(it.uploadIsDue)
            it.upload()
            assertFalse(it.uploadIsDue)
            it.personalize(PersonalizeConfig(heldoutFraction = 0f, seed = 1)) // keeps the newest vector
            assertTrue(it.uploadIsDue)
        }
    }

    @Test
    fun `an untrained vector and a device without a key upload nothing`() {
        device { assertThrows(StateError::class.java) { it.upload() } }
        Personalizer.open(File(folder.root, "keyless"), Fixtures.bundle(), Fixtures.runners, Fixtures.databases).use {
            it.logMany(Fixtures.interactions())
            it.personalize()
            assertThrows(StateError::class.java) { it.upload() }
        }
    }

    @Test
    fun `after forgetting, nothing of the user is left and numbers go on`() = trained {
        it.upload()
        it.forget()
        assertEquals(0L to 0L, it.historySize to it.sampleCount)
        assertEquals(0.0, it.gate, 0.0)
        assertNotEquals(0L, it.state.sequence)
        it.logMany(Fixtures.interactions())
        it.personalize()
        assertEquals(2L, Dccl.VectorUpload.parseFrom(Dccl.SignedUpload.parseFrom(it.upload()).upload).sequence)
    }
}

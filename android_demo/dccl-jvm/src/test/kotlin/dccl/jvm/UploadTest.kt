package dccl.jvm

import dccl.Dccl
import dccl.core.Bundle
import dccl.core.PersonalizeConfig
import dccl.core.Personalizer
import dccl.core.StateError
import dccl.core.Transport
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
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
        it.personalize(PersonalizeConfig(heldoutFraction = 0f, seed = 1)) // keeps the newest vector
        it.upload()
        val numbers = ArrayList<Long>()
        it.send { body -> receipt(body).also { answer -> numbers += answer.sequence }.toByteArray() }
        assertEquals(listOf(2L), numbers)
        assertEquals(listOf("superseded", "accepted"), it.uploads.map { one -> one.status })
    }

    @Test
    fun `an upload that waits is not overtaken by a later one`() = trained {
        it.upload()
        it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next"))))
        it.personalize()
        it.upload()
        val tried = ArrayList<Long>()
        var working = false
        val transport = Transport { body ->
            val answer = receipt(body).also { one -> tried += one.sequence }
            if (!working) throw IOException("no network")
            answer.toByteArray()
        }
        assertFalse(it.send(transport))
        assertEquals(listOf(1L), tried)
        working = true
        assertTrue(it.send(transport))
        assertEquals(listOf(1L, 1L, 2L), tried)
        assertEquals(listOf("accepted", "accepted"), it.uploads.map { one -> one.status })
    }

    @Test
    fun `only a receipt of this very upload counts`() = trained {
        it.upload()
        val accepted = Dccl.Receipt.newBuilder().setStatus(Dccl.Receipt.Status.ACCEPTED)
        for (other in listOf(0L, 2L)) {
            assertFalse(it.send { accepted.setSequence(other).build().toByteArray() })
        }
        assertEquals("queued", it.uploads.single().status)
        val unread = Dccl.Receipt.newBuilder().setStatus(Dccl.Receipt.Status.REJECTED) // of a body without a number
        assertTrue(it.send { unread.build().toByteArray() })
        assertEquals("rejected", it.uploads.single().status)
    }

    @Test
    fun `nothing is sent of a user who is forgotten meanwhile`() = trained {
        it.upload()
        it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next"))))
        it.personalize()
        it.upload()
        var sent = 0
        val done = it.send { body -> receipt(body).toByteArray().also { _ -> sent++ }.also { _ -> it.forget() } }
        assertEquals(true to 1, done to sent)
    }

    @Test
    fun `the same vector is news once`() {
        device { assertFalse(it.uploadIsDue) }
        trained {
            assertTrue(it.uploadIsDue)
            val body = it.upload()
            assertFalse(it.uploadIsDue)
            assertArrayEquals(body, it.upload())
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
        val vector = it.vector
        assertNotEquals(emptyList<File>(), filesWith(vector))
        it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next")))) // leaves the state beside the bundle
        File(home, "state.bin.damaged").writeText("an old state")
        it.forget()
        assertEquals(emptyList<File>(), filesWith(vector))
        assertEquals(emptyList<Any>(), it.uploads)
        assertTrue(it.send { throw IOException("nothing is left to send") })
        assertEquals(emptyMap<String, Any>(), it.state.profile)
        assertFalse(File(home, "state.bin.damaged").exists())
        assertEquals(1, File(home, "bundles").list()!!.size)
        assertEquals(0L to 0L, it.historySize to it.sampleCount)
        assertEquals(0.0, it.gate, 0.0)
        assertNotEquals(0L, it.state.sequence)
        it.logMany(Fixtures.interactions())
        it.personalize()
        assertEquals(2L, Dccl.VectorUpload.parseFrom(Dccl.SignedUpload.parseFrom(it.upload()).upload).sequence)
    }

    /** The device's files that hold a vector's bytes. */
    private fun filesWith(vector: FloatArray): List<File> {
        val bytes = ByteBuffer.allocate(4 * vector.size).order(ByteOrder.LITTLE_ENDIAN)
        vector.forEach(bytes::putFloat)
        val sought = String(bytes.array(), Charsets.ISO_8859_1)
        return home.walk().filter { it.isFile && it.readText(Charsets.ISO_8859_1).contains(sought) }.toList()
    }
}

package dccl.jvm

import dccl.Dccl
import dccl.core.Answer
import dccl.core.Bundle
import dccl.core.Collector
import dccl.core.PersonalizeConfig
import dccl.core.Personalizer
import dccl.core.StateError
import dccl.core.Transport
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.time.ZoneOffset
import java.time.ZonedDateTime
import java.time.format.DateTimeFormatter
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class UploadTest : DeviceTests() {
    private fun sequence(body: ByteArray) =
        Dccl.VectorUpload.parseFrom(Dccl.SignedUpload.parseFrom(body).upload).sequence

    private fun receipt(sequence: Long, status: Dccl.Receipt.Status = Dccl.Receipt.Status.ACCEPTED): Dccl.Receipt =
        Dccl.Receipt.newBuilder().setStatus(status).setSequence(sequence).build()

    private fun accepted(body: ByteArray) = Answer(200, receipt(sequence(body)).toByteArray())

    @Test
    fun `an upload waits until the cloud has it`() {
        trained {
            assertEquals(0, it.uploads.size)
            val body = it.upload()
            assertFalse(it.send { throw IOException("no network") })
            assertFalse(it.send { Answer(200, "<html>".toByteArray(), "text/html") })
            assertEquals(listOf("queued" to 2), it.uploads.map { one -> one.status to one.attempts })
            assertEquals(2L * body.size, it.uploads[0].bytesSent)
        }
        device {
            val sent = ArrayList<ByteArray>()
            assertTrue(it.send { body -> accepted(body.also { sent += it }) })
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
        it.send { body -> accepted(body).also { numbers += sequence(body) } }
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
            tried += sequence(body)
            if (!working) throw IOException("no network")
            accepted(body)
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
        for (other in listOf(0L, 2L)) {
            assertFalse(it.send { Answer(200, receipt(other).toByteArray()) })
        }
        assertEquals("queued", it.uploads.single().status)
        val unread = receipt(0, Dccl.Receipt.Status.REJECTED) // of a body without a number
        assertTrue(it.send { Answer(413, unread.toByteArray()) })
        assertEquals("rejected", it.uploads.single().status)
    }

    @Test
    fun `an upload over HTTP ends with its receipt`() = trained { device ->
        val body = device.upload()
        StubServer { http(200, receipt(1)) }.use { server ->
            assertTrue(device.send(Collector(server.address)))
            assertEquals("POST /v1/vectors HTTP/1.1", server.seen.single().line)
            assertArrayEquals(body, server.seen.single().body)
        }
        assertEquals("accepted" to "", device.uploads.single().run { status to detail })
    }

    @Test
    fun `an answer that is no receipt leaves the upload waiting for the next call`() = trained { device ->
        device.upload()
        val answers = listOf(
            loginPage,
            http(200, "<html>".toByteArray(), "Content-Type" to "application/x-protobuf"),
            http(200, receipt(1).toByteArray(), "Content-Type" to "text/plain"),
            http(302, ByteArray(0), "Location" to "http://127.0.0.1:9/"),
            problem(401, "token"),
            problem(404, "no such call"),
            http(503, receipt(1)), // whatever it holds
            ByteArray(0),
            "no HTTP\r\n\r\n".toByteArray()
        )
        for (answer in answers) {
            StubServer { answer }.use { server ->
                assertFalse(device.send(Collector(server.address)))
                assertEquals(1, server.seen.size)
            }
        }
        assertEquals("queued" to answers.size, device.uploads.single().run { status to attempts })
    }

    @Test
    fun `a pause that a busy server asks for is kept, also by the next opening`() {
        trained { it.upload() }
        for (status in listOf(408, 425, 429, 500, 503)) {
            device { device ->
                StubServer { problem(status, "busy", "Retry-After" to "120") }.use { server ->
                    repeat(2) { assertFalse(device.send(Collector(server.address))) }
                    assertEquals(1, server.seen.size)
                }
            }
            assertEquals(120.0, pause(), 5.0)
            device { assertFalse(it.send { throw AssertionError("sent too soon") }) }
            endPause()
        }
        device { assertTrue(it.send(::accepted)) }
    }

    @Test
    fun `a pause may be told as a date, and is a day at most`() {
        trained { it.upload() }
        val inAnHour = DateTimeFormatter.RFC_1123_DATE_TIME.format(ZonedDateTime.now(ZoneOffset.UTC).plusHours(1))
        for ((told, seconds) in mapOf(inAnHour to 3600.0, "864000" to 86_400.0, "soon" to 0.0, "-5" to 0.0)) {
            StubServer { problem(503, "busy", "Retry-After" to told) }.use { server ->
                device { assertFalse(it.send(Collector(server.address))) }
            }
            assertEquals(told, seconds, pause(), 5.0)
            endPause()
        }
    }

    @Test
    fun `a pause that only a clock set back explains is none`() {
        trained { it.upload() }
        device { assertFalse(it.send { Answer(503, ByteArray(0), retryAfter = 60) }) }
        log { it.execute("UPDATE counters SET value = value + 86400 WHERE name = 'upload_not_before'") }
        device { assertTrue(it.send(::accepted)) }
    }

    /** Seconds that are left of the pause, as the file has it. */
    private fun pause(): Double {
        val rows = log { it.query("SELECT value FROM counters WHERE name = 'upload_not_before'") }
        return if (rows.isEmpty()) 0.0 else rows[0][0] as Long - System.currentTimeMillis() / 1000.0
    }

    private fun endPause() = log { it.execute("DELETE FROM counters WHERE name = 'upload_not_before'") }

    private fun <R> log(use: (JdbcDatabase) -> R): R = JdbcDatabase(File(home, "samples.sqlite").path).use(use)

    @Test
    fun `nothing is sent of a user who is forgotten meanwhile`() = trained {
        it.upload()
        it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next"))))
        it.personalize()
        it.upload()
        var sent = 0
        val done = it.send { body -> accepted(body).also { _ -> sent++ }.also { _ -> it.forget() } }
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

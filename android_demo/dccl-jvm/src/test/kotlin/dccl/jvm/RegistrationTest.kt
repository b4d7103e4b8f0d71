package dccl.jvm

import com.google.protobuf.ByteString
import dccl.Dccl
import dccl.core.Answer
import dccl.core.Collector
import dccl.core.InputError
import dccl.core.Personalizer
import dccl.core.RegistrationError
import dccl.core.StateError
import dccl.core.changeKey
import dccl.core.register
import java.io.File
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class RegistrationTest : DeviceTests() {
    private val key = ByteArray(32) { (it + 100).toByte() }

    private fun credentials(deviceId: String, key: ByteArray = this.key) =
        http(201, Dccl.Credentials.newBuilder().setDeviceId(deviceId).setKey(ByteString.copyFrom(key)).build())

    private fun receipt(status: Dccl.Receipt.Status, reason: Dccl.Reason = Dccl.Reason.NONE) =
        http(200, Dccl.Receipt.newBuilder().setStatus(status).setReason(reason).build())

    private fun served(answer: (Request) -> ByteArray, use: (StubServer, Collector) -> Unit) =
        StubServer(answer).use { use(it, Collector(it.address)) }

    private fun file(name: String) = File(home, name)

    private fun open() = Personalizer.open(home, Fixtures.bundle(), Fixtures.runners, Fixtures.databases)

    private fun hmac(content: ByteArray, key: ByteArray): ByteString {
        val mac = Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(key, "HmacSHA256")) }
        return ByteString.copyFrom(mac.doFinal(content))
    }

    private fun isSignedBy(key: ByteArray, body: ByteArray) =
        Dccl.SignedUpload.parseFrom(body).let { it.mac == hmac(it.upload.toByteArray(), key) }

    @Test
    fun `a device that has registered is opened with the id and key that it got`() =
        served({ credentials("d7") }) { server, collector ->
            assertEquals("d7", collector.register(home, token = "let me in"))
            val request = server.seen.single()
            assertEquals("POST /v1/devices HTTP/1.1", request.line)
            assertEquals("Bearer let me in", request.headers["authorization"])
            assertEquals("application/x-protobuf", request.headers["content-type"])
            assertEquals("", Dccl.Registration.parseFrom(request.body).deviceId)
            assertEquals("d7", file("device.id").readText())
            assertArrayEquals(key, file("device.key").readBytes())
            open().use {
                it.logMany(Fixtures.interactions())
                it.personalize()
                assertEquals("d7", it.deviceId)
                assertTrue(isSignedBy(key, it.upload()))
            }
        }

    @Test
    fun `asked again, it gives what is kept and asks nobody`() = served({ credentials("d7") }) { server, collector ->
        repeat(2) { assertEquals("d7", collector.register(home)) }
        assertEquals(1, server.seen.size)
        assertThrows(StateError::class.java) { collector.register(home, "d8") }
    }

    @Test
    fun `a device that was opened before registers under its id`() {
        val deviceId = open().use { it.deviceId }
        served({ credentials(deviceId) }) { server, collector ->
            assertEquals(deviceId, collector.register(home))
            assertEquals(deviceId, Dccl.Registration.parseFrom(server.seen.single().body).deviceId)
        }
    }

    @Test
    fun `an id whose registration broke off gives way to a new one where the app says so`() {
        val own = open().use { it.deviceId }
        fun wanted(request: Request) = Dccl.Registration.parseFrom(request.body).deviceId
        val answer = { it: Request -> if (wanted(it) == own) problem(409, "taken") else credentials("d9") }
        served(answer) { server, collector ->
            assertThrows(RegistrationError::class.java) { collector.register(home) }
            assertEquals("d9", collector.register(home, orNewId = true))
            assertEquals(listOf(own, own, ""), server.seen.map(::wanted))
        }
        open().use { assertEquals("d9", it.deviceId) }
    }

    @Test
    fun `what is no credentials stores nothing and says why`() {
        val answers = mapOf(
            problem(401, "token") to "HTTP 401", // of which the JVM gives no body
            problem(409, "taken") to "HTTP 409 (taken); if a registration of this very device broke off",
            problem(429, "too many", "Retry-After" to "30") to "call again in 30 s",
            problem(503, "busy", "Retry-After" to "5") to "call again in 5 s",
            http(302, ByteArray(0), "Location" to "http://127.0.0.1:9/") to "HTTP 302",
            loginPage to "HTTP 200",
            http(201, "<html>".toByteArray(), "Content-Type" to "text/html") to "HTTP 201",
            credentials("d1", ByteArray(31)) to "other bytes",
            credentials("d2") to "other bytes", // another id than the one that was wanted
            http(201, byteArrayOf(1), "Content-Type" to "application/x-protobuf") to "got 1 other bytes"
        )
        for ((answer, said) in answers) {
            served({ answer }) { server, collector ->
                val error = assertThrows(said, RegistrationError::class.java) { collector.register(home, "d1") }
                assertTrue(error.message!!, said in error.message!!)
                assertEquals(1, server.seen.size)
            }
            assertFalse(file("device.id").exists() || file("device.key").exists())
        }
    }

    @Test
    fun `a registration that breaks off is not sent again by itself`() = served({ ByteArray(0) }) { server, collector ->
        assertThrows(RegistrationError::class.java) { collector.register(home) }
        assertEquals(1, server.seen.size)
    }

    @Test
    fun `no server, an open device and a wrong id are named`() {
        val nobody = Collector("http://127.0.0.1:1")
        assertThrows(RegistrationError::class.java) { nobody.register(home) }
        assertThrows(InputError::class.java) { nobody.register(home, "two\nlines") }
        device { assertThrows(StateError::class.java) { nobody.register(home) } }
    }

    @Test
    fun `an address is https, or this machine's own`() {
        for (address in listOf("http://example.org", "ftp://example.org", "https://", "example.org", "")) {
            assertThrows(address, InputError::class.java) { Collector(address) }
        }
        for (address in listOf("https://example.org/below/", "http://localhost:8080", "http://[::1]:8080")) {
            Collector(address)
        }
    }

    @Test
    fun `calls are below the address`() = StubServer { credentials("d7") }.use {
        Collector("${it.address}/below/").register(home)
        assertEquals("POST /below/v1/devices HTTP/1.1", it.seen.single().line)
    }

    @Test
    fun `a key that was changed is the only one`() {
        device { }
        served({ receipt(Dccl.Receipt.Status.ACCEPTED) }) { server, collector ->
            collector.changeKey(home)
            assertEquals("POST /v1/devices:changeKey HTTP/1.1", server.seen.single().line)
            val signed = Dccl.SignedKeyChange.parseFrom(server.seen.single().body)
            assertEquals(hmac("dccl.KeyChange".toByteArray() + signed.change.toByteArray(), Fixtures.key), signed.mac)
            val change = Dccl.KeyChange.parseFrom(signed.change)
            assertEquals("d1", change.deviceId)
            assertNotEquals(ByteString.copyFrom(Fixtures.key), change.newKey)
            assertArrayEquals(change.newKey.toByteArray(), file("device.key").readBytes())
            assertFalse(file("device.key.next").exists())
        }
    }

    @Test
    fun `both keys are kept until the answer comes, nothing is sent, and the same change is asked for again`() {
        trained { it.upload() }
        val answers = mutableListOf(ByteArray(0), loginPage, problem(503, "busy"), receipt(Dccl.Receipt.Status.DUPLICATE))
        served({ answers.removeAt(0) }) { server, collector ->
            repeat(3) { assertThrows(RegistrationError::class.java) { collector.changeKey(home) } }
            val next = file("device.key.next").readBytes()
            assertArrayEquals(Fixtures.key, file("device.key").readBytes())
            open().use { assertFalse(it.send { throw AssertionError("sent under a key that may be void") }) }
            collector.changeKey(home)
            for (request in server.seen) assertArrayEquals(server.seen[0].body, request.body)
            open().use { device ->
                device.send { body -> Answer(503, ByteArray(0)).also { assertTrue(isSignedBy(next, body)) } }
                assertEquals(1, device.uploads.single().attempts)
            }
        }
    }

    @Test
    fun `a change that is rejected leaves the key`() {
        device { }
        served({ receipt(Dccl.Receipt.Status.REJECTED, Dccl.Reason.BAD_MAC) }) { _, collector ->
            val error = assertThrows(RegistrationError::class.java) { collector.changeKey(home) }
            assertTrue(error.message!!, "BAD_MAC" in error.message!!)
            assertArrayEquals(Fixtures.key, file("device.key").readBytes())
            assertFalse(file("device.key.next").exists())
        }
    }

    @Test
    fun `a device without a key has none to change`() {
        assertThrows(StateError::class.java) { Collector("http://127.0.0.1:1").changeKey(home) }
    }
}

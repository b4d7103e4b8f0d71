package dccl.jvm

import com.google.protobuf.ByteString
import dccl.core.Bundle
import dccl.core.BundleError
import dccl.core.Collector
import dccl.core.DownloadError
import dccl.core.InputError
import dccl.core.StorageError
import dccl.core.fetchBundle
import dccl.core.hex
import java.io.ByteArrayOutputStream
import java.io.File
import java.nio.file.Files
import java.nio.file.Path
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class DownloadTest : DeviceTests() {
    private val old = ByteString.copyFrom(ByteArray(32) { it.toByte() })
    private val downloads by lazy { File(folder.root, "downloads") }
    private val successor by lazy { Bundle.open(Fixtures.successor(File(folder.root, "successor"))) }

    /** Answers as a collector that has [offered]: its file, under its identity. */
    private var offered = Fixtures.bundle()
    private var zip = zipped(offered)
    private var etag = hex(offered.identity)
    private var cut: Int? = null // bytes of the body after which the next answer breaks off
    private var instead: ByteArray? = null // of any answer of its own
    private val server = StubServer(::answer)
    private val collector = Collector(server.address)

    @After
    fun close() = server.close()

    private fun offer(bundle: Bundle) {
        offered = bundle
        zip = zipped(bundle)
        etag = hex(bundle.identity)
    }

    private fun answer(request: Request): ByteArray {
        instead?.let { return it }
        if (request.headers["if-none-match"] == "\"$etag\"") return http(304)
        val goesOn = request.headers["if-range"] == "\"$etag\""
        val begin = if (goesOn) request.headers.getValue("range").filter(Char::isDigit).toInt() else 0
        if (goesOn && begin >= zip.size) return http(416, ByteArray(0), "Content-Range" to "bytes */${zip.size}")
        val whole = http(if (goesOn) 206 else 200, zip.drop(begin).toByteArray(), "ETag" to "\"$etag\"")
        val missing = cut?.let { zip.size - begin - it } ?: 0
        cut = null
        return whole.copyOf(whole.size - missing)
    }

    private fun zipped(bundle: Bundle) = ByteArrayOutputStream().also { bytes ->
        ZipOutputStream(bytes).use { zip ->
            for (file in bundle.folder.listFiles()!!.filter(File::isFile)) {
                zip.putNextEntry(ZipEntry(file.name))
                zip.write(file.readBytes())
            }
        }
    }.toByteArray()

    private fun hex(identity: ByteString) = identity.toByteArray().hex()

    private fun fetch() = collector.fetchBundle(downloads)

    private fun assertFails(said: String) {
        val error = assertThrows(said, DownloadError::class.java) { fetch() }
        assertTrue(error.message!!, said in error.message!!)
    }

    /** Names of what is in the folder of downloads. */
    private fun left() = downloads.list().orEmpty().toList()

    @Test
    fun `a bundle arrives whole, and the device is named`() {
        val bundle = collector.fetchBundle(downloads, "dé %1", holding = old)!!
        assertEquals(offered.identity, bundle.identity)
        assertEquals(listOf("bundle"), left())
        val request = server.seen.single()
        assertEquals("GET /v1/bundle HTTP/1.1", request.line)
        assertEquals("d%C3%A9 %251", request.headers["dccl-device-id"])
        assertEquals("\"${hex(old)}\"", request.headers["if-none-match"])
        assertEquals("identity", request.headers["accept-encoding"])
    }

    @Test
    fun `a device goes over to what it fetches, and then there is nothing new`() = trained { device ->
        offer(successor)
        device.upgrade(collector.fetchBundle(device, downloads)!!)
        assertEquals(successor.identity, device.bundle.identity)
        assertNull(collector.fetchBundle(device, downloads))
    }

    @Test
    fun `a collector without a bundle has none yet, and another server is none`() {
        instead = problem(404, "none yet")
        assertNull(fetch())
        instead = http(404, "<html>".toByteArray(), "Content-Type" to "text/html")
        assertFails("expected a collector, got HTTP 404")
    }

    @Test
    fun `a broken download goes on where it broke off`() {
        cut = 1000
        assertFails("call again to go on")
        cut = 500
        assertFails("call again to go on")
        assertEquals(offered.identity, fetch()!!.identity)
        val ranges = server.seen.map { it.headers["range"] to it.headers["if-range"] }
        assertEquals(listOf(null to null, "bytes=1000-" to "\"$etag\"", "bytes=1500-" to "\"$etag\""), ranges)
    }

    @Test
    fun `a broken download of a bundle that is no longer the newest is given up`() {
        cut = 1000
        assertFails("call again to go on")
        offer(successor)
        assertEquals(successor.identity, fetch()!!.identity)
        assertEquals(listOf("bundle"), left())
    }

    @Test
    fun `what has arrived whole is not asked for again`() {
        downloads.mkdir()
        File(downloads, "$etag.part").writeBytes(zip) // as after a full disk, which had no room to unpack it
        assertEquals(offered.identity, fetch()!!.identity)
        assertEquals("bytes=${zip.size}-", server.seen.single().headers["range"])
    }

    @Test
    fun `a beginning that is longer than the bundle begins anew`() {
        downloads.mkdir()
        File(downloads, "$etag.part").writeBytes(zip + 0)
        assertFails("HTTP 416")
        assertEquals(offered.identity, fetch()!!.identity)
    }

    @Test
    fun `a bundle that the device has refused is left where it is`() = trained { device ->
        offer(Bundle.open(Fixtures.withFile(File(folder.root, "uncertified"), "certificate.json", "{}".toByteArray())))
        val bundle = collector.fetchBundle(device, downloads)!!
        assertThrows(BundleError::class.java) { device.upgrade(bundle) }
        cut = 0 // its body would not arrive
        val error = assertThrows(BundleError::class.java) { collector.fetchBundle(device, downloads) }
        assertTrue(error.message!!, "was refused before (certificate.json: " in error.message!!)
        assertEquals(setOf(offered.identity), device.refused.keys)
    }

    @Test
    fun `a bundle that was rolled back from is not fetched again`() = trained { device ->
        offer(successor)
        device.upgrade(collector.fetchBundle(device, downloads)!!)
        device.rollback()
        assertThrows(BundleError::class.java) { collector.fetchBundle(device, downloads) }
    }

    @Test
    fun `what is no bundle of a collector's is named, and nothing is kept`() {
        val answers = mapOf(
            loginPage to "ETag: expected a bundle's identity, got \"\"",
            http(200, zip, "ETag" to "\"../../escaped\"") to "ETag: expected a bundle's identity",
            http(206, zip, "ETag" to "\"$etag\"") to "expected HTTP 200, got HTTP 206", // no range was asked for
            http(302, ByteArray(0), "Location" to "${server.address}/v1/bundle") to "HTTP 302",
            problem(503, "gone", "Retry-After" to "60") to "HTTP 503",
            ByteArray(0) to "did not arrive"
        )
        for ((answer, said) in answers) {
            instead = answer
            assertFails(said)
            assertEquals(emptyList<String>(), left())
        }
    }

    @Test
    fun `another bundle than its ETag says is not taken`() {
        etag = hex(old)
        val error = assertThrows(BundleError::class.java) { fetch() }
        assertTrue(error.message!!, "as its ETag says" in error.message!!)
        assertEquals(emptyList<String>(), left())
    }

    @Test
    fun `a bundle that was damaged on its way is fetched anew`() {
        zip[zip.size / 2]++
        assertThrows(BundleError::class.java) { fetch() }
        zip[zip.size / 2]--
        assertEquals(offered.identity, fetch()!!.identity)
        assertNull(server.seen.last().headers["range"])
    }

    @Test
    fun `more than a bundle may have is not read to its end`() {
        val error = assertThrows(DownloadError::class.java) {
            collector.fetchBundle(downloads, null, ByteString.EMPTY, emptyMap(), largest = zip.size - 1L)
        }
        assertTrue(error.message!!, "at most ${zip.size - 1} bytes" in error.message!!)
        assertEquals(emptyList<String>(), left())
    }

    @Test
    fun `a full disk and a folder that cannot be made are named`() {
        downloads.mkdir()
        Files.createSymbolicLink(File(downloads, "$etag.part").toPath(), Path.of("/dev/full"))
        val error = assertThrows(StorageError::class.java) { fetch() }
        assertTrue(error.message!!, "No space left" in error.message!!)
        assertThrows(StorageError::class.java) { collector.fetchBundle(File(folder.newFile("file"), "downloads")) }
    }

    @Test
    fun `an identity that is none is named`() {
        val short = ByteString.copyFrom(ByteArray(31))
        assertThrows(InputError::class.java) { collector.fetchBundle(downloads, holding = short) }
    }
}

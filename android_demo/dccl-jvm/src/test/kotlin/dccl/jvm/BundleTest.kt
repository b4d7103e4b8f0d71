package dccl.jvm

import dccl.Dccl
import dccl.core.Bundle
import dccl.core.BundleError
import dccl.core.UnsupportedOperatorError
import dccl.core.replayGoldens
import dccl.core.requireBuiltins
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.InputStream
import java.net.SocketTimeoutException
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.random.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class BundleTest {
    @get:Rule
    val folder = TemporaryFolder()

    private fun copy(): File = File(folder.root, "copy").also {
        Fixtures.tinyBundle.copyRecursively(it, overwrite = true)
    }

    @Test
    fun `all golden calls agree on this runtime`() {
        val results = Fixtures.runner().use { replayGoldens(Fixtures.bundle(), it) }
        assertTrue(results.size >= 10)
        assertEquals(emptyList<Any>(), results.filterNot { it.passed })
    }

    @Test
    fun `a model cut short or with a flipped byte is refused by its hash`() { // D10
        val model = File(Fixtures.tinyBundle, "model.tflite").readBytes()
        val random = Random(0)
        val cuts = List(10) { model.copyOf(it * model.size / 10) }
        val flips = List(200) {
            val at = random.nextInt(model.size)
            model.copyOf().also { bytes -> bytes[at] = (bytes[at] + 1).toByte() }
        }
        for (damaged in cuts + flips) {
            val bundle = copy().also { File(it, "model.tflite").writeBytes(damaged) }
            val error = assertThrows(BundleError::class.java) { Bundle.open(bundle) }
            assertTrue(error.message!!.contains("model.tflite: expected SHA-256"))
        }
    }

    @Test
    fun `any other file is refused likewise`() {
        for (name in listOf("vocabulary.pb", "goldens.pb", "certificate.json")) {
            val bundle = copy().also { File(it, name).appendBytes(byteArrayOf(0)) }
            assertTrue(assertThrows(BundleError::class.java) { Bundle.open(bundle) }.message!!.contains(name))
        }
    }

    @Test
    fun `a model replaced after the bundle was opened is not loaded`() {
        val bundle = Bundle.open(copy())
        File(bundle.folder, "model.tflite").appendBytes(byteArrayOf(0))
        assertThrows(BundleError::class.java) { bundle.model }
    }

    @Test
    fun `a missing file and an absent folder are named`() {
        val bundle = copy().also { File(it, "goldens.pb").delete() }
        val error = assertThrows(BundleError::class.java) { Bundle.open(bundle) }
        assertTrue(error.message!!.endsWith("got none of goldens.pb"))
        assertThrows(BundleError::class.java) { Bundle.open(File(folder.root, "nothing")) }
    }

    @Test
    fun `another schema is named`() {
        val bundle = Fixtures.successor(File(folder.root, "next")) { schema = 2 }
        assertTrue(assertThrows(BundleError::class.java) { Bundle.open(bundle) }.message!!.contains("got 2"))
    }

    @Test
    fun `another meaning of the logits is refused`() {
        val bundle = Fixtures.successor(File(folder.root, "next")) { protocol = "rating" }
        assertTrue(assertThrows(BundleError::class.java) { Bundle.open(bundle) }.message!!.contains("\"rating\""))
    }

    @Test
    fun `a bundle without a certificate of passed checks is not taken`() {
        val certificates = listOf(
            """{"checks": [{"name": "size", "passed": true}, {"name": "parity", "passed": false}]}""",
            """{"checks": [null]}""",
            """{"checks": []}""",
            "[]",
            "{"
        )
        certificates.forEachIndexed { number, text ->
            val bundle = Fixtures.withFile(File(folder.root, "$number"), "certificate.json", text.toByteArray())
            val home = File(folder.root, "device")
            val error = assertThrows(BundleError::class.java) { Fixtures.device(home, Bundle.open(bundle)) }
            assertTrue(error.message!!.startsWith("certificate.json: "))
            assertEquals(emptyList<String>(), File(home, "bundles").list()!!.toList())
        }
    }

    @Test
    fun `goldens whose size overflows are refused`() {
        // 4 * 32768 * 32768 is 0 in 32 bits, as many bytes as there are.
        val empty = Dccl.Tensor.newBuilder().setName("unused").setDtype("float32").addShape(32768).addShape(32768)
        val call = Dccl.GoldenCall.newBuilder().setSignature("get").addInputs(empty)
        refused("goldens.pb", Dccl.Goldens.newBuilder().addCalls(call).build().toByteArray(), "got 0 bytes")
    }

    @Test
    fun `a golden call that does not fit the model is the bundle's fault`() {
        val call = Dccl.GoldenCall.newBuilder().setSignature("git")
        refused("goldens.pb", Dccl.Goldens.newBuilder().addCalls(call).build().toByteArray(), "did you mean \"get\"?")
    }

    @Test
    fun `a certificate that nests without end is refused`() =
        refused("certificate.json", "[".repeat(200_000).toByteArray(), "nested too deep")

    @Test
    fun `more negatives than a number can hold are refused`() {
        val bundle = Fixtures.successor(File(folder.root, "next")) { setTraining(training.toBuilder().setNegatives(-1)) }
        val error = assertThrows(BundleError::class.java) { Bundle.open(bundle) }
        assertTrue(error.message!!, error.message!!.contains("4294967295"))
    }

    @Test
    fun `a profile value that stands twice is refused`() {
        val bundle = Fixtures.successor(File(folder.root, "next")) {
            val field = getProfile(0)
            setProfile(0, field.toBuilder().addValues(field.getValues(0)))
        }
        val error = assertThrows(BundleError::class.java) { Bundle.open(bundle) }
        assertTrue(error.message!!, error.message!!.contains("once, got"))
    }

    @Test
    fun `what unpacks to more than a bundle may hold is refused`() {
        val size = FILES.sumOf { File(Fixtures.tinyBundle, it).length() }
        Bundle.unpack(ByteArrayInputStream(zip()), File(folder.root, "whole"), size)
        val error = assertThrows(BundleError::class.java) {
            Bundle.unpack(ByteArrayInputStream(zip()), File(folder.root, "more"), size - 1)
        }
        assertTrue(error.message!!, error.message!!.contains("at most ${size - 1} bytes"))
    }

    @Test
    fun `a stream that breaks off is not blamed on the disk`() {
        val broken = object : InputStream() {
            override fun read(): Int = throw SocketTimeoutException("timeout")
        }
        val error = assertThrows(BundleError::class.java) { Bundle.unpack(broken, File(folder.root, "broken")) }
        assertEquals("bundle: not a whole zip (timeout); fetch it again", error.message)
    }

    @Test
    fun `a zip is unpacked, and a damaged one leaves nothing`() {
        val target = File(folder.root, "unpacked")
        assertThrows(BundleError::class.java) { Bundle.unpack(ByteArrayInputStream(zip().copyOf(5000)), target) }
        assertFalse(target.exists())
        assertEquals(Fixtures.bundle().identity, Bundle.unpack(ByteArrayInputStream(zip()), target).identity)
        assertEquals(listOf("unpacked"), folder.root.list()!!.toList())
    }

    @Test
    fun `a model that needs Flex is named in words`() { // D12
        val model = File(Fixtures.tinyBundle.parentFile, "flex.tflite")
        val error = assertThrows(UnsupportedOperatorError::class.java) { requireBuiltins(model) }
        assertTrue(error.message!!.contains("needs the Flex delegate for FlexReluGrad"))
    }

    /** Whether a device refuses a bundle with another file, and why. */
    private fun refused(name: String, content: ByteArray, reason: String) {
        val bundle = Bundle.open(Fixtures.withFile(File(folder.root, "bundle"), name, content))
        Fixtures.device(File(folder.root, "device")).use {
            val error = assertThrows(BundleError::class.java) { it.upgrade(bundle) }
            assertTrue(error.message!!, error.message!!.contains(reason))
        }
    }

    private fun zip(): ByteArray = ByteArrayOutputStream().also { bytes ->
        ZipOutputStream(bytes).use { zip ->
            for (file in FILES.map { File(Fixtures.tinyBundle, it) }) {
                zip.putNextEntry(ZipEntry(file.name))
                file.inputStream().use { it.copyTo(zip) }
            }
        }
    }.toByteArray()

    private companion object {
        val FILES = listOf("manifest.pb", "model.tflite", "vocabulary.pb", "certificate.json", "goldens.pb")
    }
}

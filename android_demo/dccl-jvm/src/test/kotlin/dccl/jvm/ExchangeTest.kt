package dccl.jvm

import dccl.Dccl
import dccl.core.Answer
import dccl.core.Bundle
import dccl.core.DeviceState
import dccl.core.Floats
import dccl.core.Ints
import dccl.core.Personalizer
import dccl.core.RawId
import dccl.core.RegistrationError
import dccl.core.Report
import dccl.core.UploadNoise
import dccl.core.changeKey
import dccl.core.fetchBundle
import dccl.core.register
import java.io.File
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** The same life in Kotlin and in Python (tests/android/exchange.py); what is written here, Python reads afterwards. */
class ExchangeTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `100 training steps end at Python's vector`() {
        for (signature in listOf("train", "train_encoded")) {
            val calls = Dccl.Goldens.parseFrom(File(Fixtures.exchange, "$signature.pb").readBytes()).callsList
            assertEquals(100, calls.count { it.signature == signature })
            Fixtures.runner().use { runner ->
                for (call in calls) {
                    val inputs = call.inputsList.map { it.name to tensor(it) }
                    val outputs = runner.call(call.signature, *inputs.toTypedArray())
                    for (expected in call.outputsList) {
                        assertArrayEquals(floats(expected), outputs.getValue(expected.name), call.tolerance)
                    }
                }
            }
        }
    }

    @Test
    fun `states of Python are written back in the same bytes`() {
        for (name in listOf("state.bin", "odd_state.bin")) {
            val content = File(Fixtures.exchange, name).readBytes()
            val written = DeviceState.fromBytes(content).toBytes()
            File(Fixtures.kotlin, name).writeBytes(written)
            assertArrayEquals(content, written)
        }
    }

    @Test
    fun `a device begun in Python goes on in Kotlin, and its upload has the same bytes`() {
        for (name in listOf("state.bin", "device/device.id", "device/device.key")) {
            File(Fixtures.exchange, name).let { it.copyTo(File(folder.root, it.name)) }
        }
        val device = Personalizer.open(folder.root, Fixtures.bundle(), Fixtures.runners, Fixtures.databases)
        val body = device.use { it.upload() }
        assertEquals("resumed", device.opening.how)
        File(Fixtures.kotlin, "upload_of_state.bin").writeBytes(body)
        assertArrayEquals(File(Fixtures.exchange, "upload.bin").readBytes(), body)
    }

    @Test
    fun `a whole folder of Python's goes on in Kotlin, its log and what waits`() {
        val home = File(Fixtures.kotlin, "continued").also { it.deleteRecursively() }
        File(Fixtures.exchange, "begun").copyRecursively(home)
        Personalizer.open(home, runners = Fixtures.runners, databases = Fixtures.databases).use {
            assertEquals("resumed" to 60L, it.opening.how to it.historySize)
            assertEquals(false to listOf("queued"), it.uploadIsDue to it.uploads.map { one -> one.status })
            assertArrayEquals(File(Fixtures.exchange, "upload.bin").readBytes(), it.upload())
            it.log(RawId(101)) // Python goes on from here
        }
    }

    @Test
    fun `a log of this library's first schema is brought forward`() {
        val tables = listOf(
            "CREATE TABLE history (position INTEGER PRIMARY KEY AUTOINCREMENT, item NOT NULL, " +
                "label INTEGER NOT NULL, timestamp INTEGER NOT NULL)",
            "CREATE TABLE samples (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, " +
                "item NOT NULL, label INTEGER NOT NULL)",
            "CREATE INDEX samples_position ON samples (position)",
            "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
            "CREATE TABLE uploads (sequence INTEGER PRIMARY KEY, bundle BLOB NOT NULL, content BLOB NOT NULL)",
            "INSERT INTO history VALUES (1, 101, 1, 0), (2, 102, 1, 1), (3, 101, 0, 2)",
            "PRAGMA user_version = 1"
        )
        JdbcDatabase(File(folder.root, "samples.sqlite").path).use { tables.forEach { sql -> it.execute(sql) } }
        Fixtures.device(folder.root).use {
            assertEquals(3L to emptyList<Any>(), it.historySize to it.uploads)
            assertEquals(ids(listOf(103)), it.rank(ids(101..103), excludeHistory = true).map { one -> one.item })
        }
    }

    @Test
    fun `the same log gives the same vector, gate, losses and scores`() {
        val expected = Dccl.GoldenCall.parseFrom(File(Fixtures.exchange, "life.pb").readBytes())
        val home = File(Fixtures.kotlin, "device").also { it.deleteRecursively() }
        Fixtures.device(home).use { device ->
            device.logMany(Fixtures.interactions())
            val report = device.personalize()
            val got = facts(device, report)
            File(Fixtures.kotlin, "upload.bin").writeBytes(device.upload()) // Python goes on from here
            for (tensor in expected.outputsList.filter { it.name in got }) {
                assertArrayEquals(tensor.name, floats(tensor), got.getValue(tensor.name), expected.tolerance)
            }
        }
        home.copyRecursively(File(folder.root, "device"))
        Fixtures.device(File(folder.root, "device")).use { device ->
            device.upgrade(Bundle.open(File(Fixtures.exchange, "successor")))
            val upgraded = expected.outputsList.single { it.name == "vector_after_upgrade" }
            assertArrayEquals(floats(upgraded), device.vector, expected.tolerance)
        }
    }

    @Test
    fun `a device that Python upgraded is rolled back here, and the other way round`() {
        val home = File(folder.root, "device").also { File(Fixtures.exchange, "device").copyRecursively(it) }
        val left = DeviceState.fromBytes(File(Fixtures.exchange, "state.bin").readBytes())
        Personalizer.open(home, null, Fixtures.runners, Fixtures.databases).use {
            assertEquals(left.bundle, it.rollback().bundle)
            assertArrayEquals(left.current.vector, it.vector, 0f)
        }
        Fixtures.device(File(Fixtures.kotlin, "upgraded").also { it.deleteRecursively() }).use {
            it.logMany(Fixtures.interactions())
            it.personalize()
            it.upgrade(Bundle.open(File(Fixtures.exchange, "successor"))) // Python rolls back from here
        }
    }

    @Test
    fun `an upload with noise, which Python finds made`() {
        val home = File(Fixtures.kotlin, "noisy").also { it.deleteRecursively() }
        Fixtures.device(home).use {
            it.logMany(Fixtures.interactions())
            it.personalize()
        }
        val noise = UploadNoise(clipNorm = 1.0, noiseMultiplier = 0.5)
        Personalizer.open(home, null, Fixtures.runners, Fixtures.databases, noise = noise).use {
            File(Fixtures.kotlin, "noisy_upload.bin").writeBytes(it.upload())
        }
    }

    @Test
    fun `a pause that the server asked for holds in the other language too`() {
        val home = File(folder.root, "paused").also { File(Fixtures.exchange, "paused").copyRecursively(it) }
        Personalizer.open(home, null, Fixtures.runners, Fixtures.databases).use {
            assertEquals(1, it.uploads.single().attempts)
            assertFalse(it.send { throw AssertionError("sent too soon") })
        }
        val ours = File(Fixtures.kotlin, "paused").also { it.deleteRecursively() }
        File(Fixtures.exchange, "begun").copyRecursively(ours)
        Personalizer.open(ours, null, Fixtures.runners, Fixtures.databases).use {
            assertFalse(it.send { Answer(503, ByteArray(0), retryAfter = 3600) }) // Python goes on from here
        }
    }

    @Test
    fun `a device registers with the collector, uploads, changes its key, and goes over to the newest bundle`() {
        val collector = Fixtures.collector
        val home = File(Fixtures.kotlin, "registered").also { it.deleteRecursively() }
        val error = assertThrows(RegistrationError::class.java) { collector.register(home) }
        assertTrue(error.message!!, "HTTP 401" in error.message!!)
        val deviceId = collector.register(home, token = "the-token-of-this-app")

        fun upload(device: Personalizer) {
            device.personalize()
            device.upload()
            assertTrue(device.send(collector))
            assertEquals("accepted", device.uploads.last().status)
        }
        fun open() = Personalizer.open(home, Fixtures.bundle(), Fixtures.runners, Fixtures.databases)
        open().use {
            assertEquals(deviceId, it.deviceId)
            it.logMany(Fixtures.interactions())
            upload(it)
        }
        collector.changeKey(home)
        open().use {
            it.upgrade(collector.fetchBundle(it, File(folder.root, "downloads"))!!)
            assertNull(collector.fetchBundle(it, File(folder.root, "downloads")))
            upload(it) // Python goes on from here
        }
    }

    private fun facts(device: Personalizer, report: Report): Map<String, FloatArray> {
        val counts =
            listOf(report.steps, report.samples, report.heldoutSamples, report.bestEpoch!!, report.gate.toInt())
        val losses = listOf(report.cloudLoss!!, report.personalLoss!!) + report.losses + report.heldoutLosses
        return mapOf(
            "vector" to device.vector,
            "report" to FloatArray(counts.size) { counts[it].toFloat() },
            "losses" to FloatArray(losses.size) { losses[it].toFloat() },
            "scores" to device.scores(ids(101..122)),
            "cloud_scores" to device.scores(ids(101..122), gate = 0.0)
        )
    }

    private fun buffer(tensor: Dccl.Tensor) = tensor.data.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN)

    private fun floats(tensor: Dccl.Tensor) =
        FloatArray(tensor.data.size() / 4).also { buffer(tensor).asFloatBuffer().get(it) }

    private fun tensor(tensor: Dccl.Tensor) = if (tensor.dtype == "float32") {
        Floats(floats(tensor))
    } else {
        Ints(IntArray(tensor.data.size() / 4).also { buffer(tensor).asIntBuffer().get(it) })
    }
}

package dccl.jvm

import dccl.Dccl
import dccl.core.Bundle
import dccl.core.DeviceState
import dccl.core.Floats
import dccl.core.Ints
import dccl.core.Personalizer
import dccl.core.Report
import java.io.File
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
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
    fun `the same log gives the same vector, gate, losses and scores`() {
        val expected = Dccl.GoldenCall.parseFrom(File(Fixtures.exchange, "life.pb").readBytes())
        val home = File(Fixtures.kotlin, "device").also { it.deleteRecursively() }
        Fixtures.device(home).use { device ->
            device.logMany(Fixtures.interactions())
            val report = device.personalize()
            val got = facts(device, report)
            File(Fixtures.kotlin, "upload.bin").writeBytes(device.upload())
            File(home, "state.bin").copyTo(File(folder.root, "state.bin"))
            device.upgrade(Bundle.open(File(Fixtures.exchange, "successor")))
            for (tensor in expected.outputsList) {
                val value = if (tensor.name == "vector_after_upgrade") device.vector else got.getValue(tensor.name)
                assertArrayEquals(tensor.name, floats(tensor), value, expected.tolerance)
            }
        }
        File(folder.root, "state.bin").copyTo(File(home, "state.bin"), overwrite = true) // Python goes on from here
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

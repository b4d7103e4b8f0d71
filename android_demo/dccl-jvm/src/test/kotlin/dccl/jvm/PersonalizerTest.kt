package dccl.jvm

import com.google.protobuf.ByteString
import dccl.Dccl
import dccl.core.Bundle
import dccl.core.BundleError
import dccl.core.InputError
import dccl.core.Interaction
import dccl.core.OnBundleChange
import dccl.core.PersonalizeConfig
import dccl.core.Personalizer
import dccl.core.RawId
import dccl.core.Report
import dccl.core.StateError
import java.io.File
import java.security.MessageDigest
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import kotlin.math.abs
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class PersonalizerTest : DeviceTests() {
    // ---- Logging and ranking -----------------------------------------------------------------------

    @Test
    fun `unknown items share one score and are counted, negative ones are refused`() = device { // D2
        val known = ids(listOf(101, 102))
        val scores = it.scores(known + ids(listOf(121, Int.MAX_VALUE)))
        assertEquals(scores[2], scores[3])
        it.log(RawId(999))
        assertEquals(3, it.unknownItemCount)
        assertThrows(InputError::class.java) { it.log(RawId(-1)) }
        assertThrows(InputError::class.java) { it.log(RawId("a")) }
        assertThrows(InputError::class.java) { it.scores(listOf(RawId(-1))) }
        assertEquals(1, it.historySize)
    }

    @Test
    fun `a label that is neither 0 nor 1 adds nothing`() = device { // D3
        for (label in listOf(2, -1)) {
            val rows = listOf(Interaction(RawId(101), 1, 0), Interaction(RawId(102), label, 0))
            assertThrows(InputError::class.java) { it.logMany(rows) }
        }
        assertEquals(0, it.historySize)
    }

    @Test
    fun `any number of candidates gives the scores of one by one`() = trained { // D4
        for (count in listOf(0, 1, 8, 9, 40)) {
            val candidates = List(count) { number -> RawId(101 + number % 20) }
            val alone = candidates.map { one -> it.scores(listOf(one))[0] }
            assertArrayEquals(alone.toFloatArray(), it.scores(candidates), 1e-6f)
        }
    }

    @Test
    fun `any number of samples trains`() { // D4
        for (count in listOf(1, 3, 4, 5, 11)) {
            Fixtures.device(File(folder.root, "$count")).use { device ->
                device.logMany(Fixtures.interactions(count).map { it.copy(skipped = emptyList()) })
                val heldout = count / 5 // the bundle holds out 0.2
                val report = device.personalize(PersonalizeConfig(epochs = 1))
                assertEquals(listOf(count - heldout, heldout), listOf(report.samples, report.heldoutSamples))
                assertEquals((count - heldout + 3) / 4, report.steps)
            }
        }
    }

    @Test
    fun `no samples, no training`() = device {
        val before = it.vector
        assertEquals("no samples", it.personalize().stopped)
        assertArrayEquals(before, it.vector, 0f)
    }

    @Test
    fun `Int and Long ids are the same items`() = device { // D5
        assertEquals(RawId(101), RawId(101L))
        assertEquals(it.scores(listOf(RawId(101)))[0], it.scores(listOf(RawId(101L)))[0])
    }

    @Test
    fun `scores are finite with no history, an unknown one and one longer than T`() = device { // D17
        val empty = it.scores(ids(101..105))
        assertTrue(empty.all(Float::isFinite))
        it.remember(List(3) { Interaction(RawId(999), 0, 0) })
        assertTrue(it.scores(ids(101..105)).all(Float::isFinite))
        val newest = Fixtures.interactions().takeLast(5)
        it.remember(Fixtures.interactions())
        val long = it.scores(ids(101..105))
        Fixtures.device(File(folder.root, "newest")).use { other ->
            other.remember(newest)
            assertArrayEquals(other.scores(ids(101..105)), long, 0f)
        }
    }

    @Test
    fun `a ranking is by score, and leaves out what was met`() = device {
        val ranked = it.rank(ids(101..120), k = 5)
        val best = it.scores(ids(101..120)).sortedDescending().take(5)
        assertEquals(best, ranked.map { one -> one.logit })
        it.log(ranked[0].item)
        assertFalse(ranked[0].item in it.rank(ids(101..120), excludeHistory = true).map { one -> one.item })
        assertThrows(InputError::class.java) { it.rank(ids(101..120), k = 0) }
    }

    // ---- Learning ----------------------------------------------------------------------------------

    @Test
    fun `training changes the vector and what is ranked with gate 1, and not the cloud model`() = device { // D16
        it.remember(Fixtures.interactions(5))
        val vector = it.vector
        val cloud = it.scores(ids(101..105), gate = 0.0)
        val personal = it.scores(ids(101..105), gate = 1.0)
        Fixtures.interactions().forEach { one -> it.log(one.item, one.label) }
        it.personalize()
        assertFalse(vector.contentEquals(it.vector))
        Fixtures.device(File(folder.root, "untrained")).use { other ->
            other.remember(Fixtures.interactions(5))
            assertArrayEquals(cloud, other.scores(ids(101..105), gate = 0.0), 0f)
            assertArrayEquals(personal, other.scores(ids(101..105), gate = 1.0), 0f)
        }
    }

    @Test
    fun `a budget ends the training, and what was trained is weighed`() = device {
        it.logMany(Fixtures.interactions())
        var asked = 0
        val report = it.personalize(shouldStop = { ++asked > 7 })
        assertEquals("should_stop", report.stopped)
        assertEquals(7, report.steps)
        assertEquals(1, report.losses.size)
        assertTrue(report.personalLoss != null)
    }

    @Test
    fun `a training stopped every seven steps ends as one that runs through`() {
        val (whole, parts) = listOf(Int.MAX_VALUE, 7).map { most ->
            Fixtures.device(File(folder.root, "$most")).use { device ->
                device.logMany(Fixtures.interactions())
                var report: Report
                do {
                    var asked = 0
                    report = device.personalize(shouldStop = { ++asked > most })
                } while (report.stopped == "should_stop")
                report.copy(seconds = 0.0) to device.vector
            }
        }
        assertEquals(whole.first, parts.first)
        assertArrayEquals(whole.second, parts.second, 0f)
    }

    @Test
    fun `a training that diverges leaves a finite vector`() = device {
        it.logMany(Fixtures.interactions())
        val report = it.personalize(PersonalizeConfig(learningRate = 1e30f))
        assertEquals("diverged", report.stopped)
        assertTrue(it.vector.all { value -> value.isFinite() && abs(value) < 1e6 })
    }

    @Test
    fun `the gate follows the held-out losses`() = device {
        it.logMany(Fixtures.interactions())
        val report = it.personalize()
        val expected = if (report.personalLoss!! < report.cloudLoss!!) 1.0 else 0.0
        assertEquals(expected, it.gate, 0.0)
        val strict = it.personalize(PersonalizeConfig(gateMargin = 100f))
        assertEquals(0.0, strict.gate, 0.0)
    }

    @Test
    fun `rankings go on, unmixed, while the device trains and upgrades`() = trained { // D6
        val bundle = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        val cloud = it.scores(ids(101..108), gate = 0.0)
        val pool = Executors.newFixedThreadPool(3)
        val rankings = List(300) { _ -> pool.submit(Callable { it.scores(ids(101..108), gate = 0.0) }) }
        it.personalize()
        it.upgrade(bundle)
        for (ranking in rankings) assertArrayEquals(cloud, ranking.get(), 0f)
        pool.shutdown()
    }

    @Test
    fun `what is logged while the device trains is kept`() = trained {
        val pool = Executors.newFixedThreadPool(3)
        val logged = List(50) { number -> pool.submit { it.log(RawId(101 + number % 20)) } }
        repeat(3) { _ -> it.personalize(PersonalizeConfig(epochs = 1)) }
        logged.forEach { one -> one.get() }
        pool.shutdown()
        assertEquals(60L + 50L, it.historySize)
    }

    // ---- From bundle to bundle ---------------------------------------------------------------------

    @Test
    fun `a state of another bundle follows the policy, and says so`() { // D8
        var before = FloatArray(0)
        trained { before = it.vector }
        val next = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        for (policy in OnBundleChange.entries) {
            val copy = File(folder.root, policy.name).also { home.copyRecursively(it) }
            Personalizer.open(copy, next, Fixtures.runners, Fixtures.databases, onBundleChange = policy).use {
                assertEquals(policy.name.lowercase(), it.opening.how)
                assertEquals(Fixtures.bundle().identity, it.opening.previous)
                assertEquals(policy == OnBundleChange.KEEP, before.contentEquals(it.vector))
                assertThrows(StateError::class.java) { it.upload() } // untrained in this bundle
            }
        }
    }

    @Test
    fun `a bundle whose goldens this runtime does not meet is refused, and the device goes on`() = trained {
        val wrong = Fixtures.successor(File(folder.root, "wrong")) {
            val file = File(folder.root, "wrong/goldens.pb")
            val goldens = Dccl.Goldens.parseFrom(file.readBytes()).toBuilder()
            val at = goldens.callsList.indexOfFirst { call -> call.signature == "infer" }
            val call = goldens.getCalls(at).toBuilder()
            val output = call.getOutputs(0).toBuilder()
            output.data = ByteString.copyFrom(ByteArray(output.data.size()))
            file.writeBytes(goldens.setCalls(at, call.setOutputs(0, output)).build().toByteArray())
            goldensSha256 = ByteString.copyFrom(MessageDigest.getInstance("SHA-256").digest(file.readBytes()))
        }
        val error = assertThrows(BundleError::class.java) { it.upgrade(Bundle.open(wrong)) }
        assertTrue(error.message!!.contains("infer.logits"))
        assertEquals(Fixtures.bundle().identity, it.bundle.identity)
        assertEquals(3, it.rank(ids(101..120), k = 3).size)
    }
}

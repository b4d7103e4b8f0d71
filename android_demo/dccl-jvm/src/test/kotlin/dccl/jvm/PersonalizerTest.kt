package dccl.jvm

import com.google.protobuf.ByteString
import dccl.Dccl
import dccl.core.Bundle
import dccl.core.BundleError
import dccl.core.InputError
import dccl.core.Interaction
import dccl.core.LogLimits
import dccl.core.OnBundleChange
import dccl.core.PersonalizeConfig
import dccl.core.Personalizer
import dccl.core.RawId
import dccl.core.Report
import dccl.core.SignatureRunner
import dccl.core.SignatureRunners
import dccl.core.SqlDatabase
import dccl.core.SqlDatabases
import dccl.core.StateError
import dccl.core.Tensor
import dccl.core.hex
import java.io.File
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
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
    fun `a call that is stopped before its first step changes nothing`() = trained {
        it.personalize(PersonalizeConfig(gateMargin = -100f)) // opens the gate, whatever the losses
        val before = it.state
        val report = it.personalize(PersonalizeConfig(gateMargin = 100f), shouldStop = { true })
        assertEquals(listOf("should_stop", 0, 1.0), listOf(report.stopped, report.steps, report.gate))
        assertEquals(1.0 to before.evidence, it.gate to it.state.evidence)
        assertEquals(before.samples, it.state.samples)
    }

    @Test
    fun `a training's callbacks may not change what it stands on`() = device {
        it.logMany(Fixtures.interactions())
        val next = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        val calls = listOf<() -> Any>(
            { it.upgrade(next) }, { it.rollback() }, { it.forget() }, { it.close() }, { it.personalize() }
        )
        var refused = 0
        val report = it.personalize(PersonalizeConfig(epochs = 1)) { _, step, _ ->
            if (step == 0) for (call in calls) assertThrows(StateError::class.java) { call() }.also { refused++ }
        }
        assertEquals("finished" to calls.size, report.stopped to refused)
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
        val error = assertThrows(BundleError::class.java) { it.upgrade(Bundle.open(wrongGoldens())) }
        assertTrue(error.message!!.contains("infer.logits"))
        assertEquals(Fixtures.bundle().identity, it.bundle.identity)
        assertEquals(3, it.rank(ids(101..120), k = 3).size)
        assertEquals(listOf(Fixtures.bundle().identity), kept())
    }

    @Test
    fun `an upgrade outlives a restart of an app that always gives the bundle it ships`() {
        val next = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        val third = Bundle.open(Fixtures.successor(File(folder.root, "third")) { oldestRuntime = "another 1.0" })
        var vector = FloatArray(0)
        trained {
            it.upgrade(next)
            vector = it.vector
        }
        next.folder.deleteRecursively() // the device has a copy
        for (given in listOf(Fixtures.bundle(), null)) {
            open(given).use {
                assertEquals("resumed" to next.identity, it.opening.how to it.bundle.identity)
                assertArrayEquals(vector, it.vector, 0f)
            }
        }
        open(third).use { assertEquals("rebase" to next.identity, it.opening.how to it.opening.previous) }
        assertEquals(setOf(next.identity, third.identity), kept().toSet())
        open(third).use { assertEquals("resumed", it.opening.how) }
    }

    @Test
    fun `a bundle that is refused when the app gives it leaves the device on its own`() {
        trained { }
        val wrong = Bundle.open(wrongGoldens())
        open(wrong).use {
            assertEquals("resumed" to Fixtures.bundle().identity, it.opening.how to it.bundle.identity)
            assertTrue(it.opening.refused.startsWith("goldens.pb: "))
        }
        open(wrong).use { assertTrue(it.opening.refused.contains("was refused before")) }
        assertEquals(listOf(Fixtures.bundle().identity), kept())
    }

    @Test
    fun `a bundle that the disk had no room for is tried again`() {
        trained { }
        val next = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        val obstacle = File(home, "state.bin.new").also { file -> file.mkdir() }
        open(next).use {
            assertEquals("resumed", it.opening.how)
            assertTrue(it.opening.refused.contains("state.bin: cannot be written"))
        }
        assertEquals(listOf(Fixtures.bundle().identity), kept()) // what cannot be used takes no room
        obstacle.delete()
        open(next).use { assertEquals("rebase", it.opening.how) }
    }

    @Test
    fun `a device whose copy is damaged takes the bundle that the app gives`() {
        trained { }
        val model = File(home, "bundles").listFiles()!!.single().let { File(it, "model.tflite") }
        model.appendBytes(byteArrayOf(0))
        assertThrows(BundleError::class.java) { open(null) }
        open(Fixtures.bundle()).use { assertEquals("resumed", it.opening.how) }
        open(null).close()
    }

    @Test
    fun `a kept manifest with one bit flipped is no bundle of this device's`() {
        trained { }
        val manifest = File(home, "bundles").listFiles()!!.single().let { File(it, "manifest.pb") }
        val whole = manifest.readBytes()
        val margin = Dccl.Manifest.parseFrom(whole).toBuilder() // what no check of a manifest could notice
        manifest.writeBytes(margin.setTraining(margin.training.toBuilder().setGateMargin(-1f)).build().toByteArray())
        val error = assertThrows(BundleError::class.java) { open(null) }
        assertTrue(error.message!!, error.message!!.contains("manifest.pb: expected SHA-256"))
        open(Fixtures.bundle()).use { assertEquals(Fixtures.bundle().identity, it.bundle.identity) }
        assertArrayEquals(whole, manifest.readBytes()) // copied in anew
    }

    @Test
    fun `a bundle that the runtime fails to load leaves the device on its own`() {
        trained { }
        val next = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        val failing = SignatureRunners { model ->
            check(!model.path.contains(next.identity.toByteArray().hex())) { "no memory for the tensors" }
            Fixtures.runners.open(model)
        }
        Personalizer.open(home, next, failing, Fixtures.databases).use {
            assertEquals("resumed" to Fixtures.bundle().identity, it.opening.how to it.bundle.identity)
            assertTrue(it.opening.refused, it.opening.refused.contains("cannot load it (no memory for the tensors)"))
        }
    }

    @Test
    fun `a bundle is in use though nothing can be noted of it`() {
        trained { }
        val obstacle = File(home, "bundle.given.new").also { file -> file.mkdir() }
        open(Bundle.open(Fixtures.successor(File(folder.root, "next")))).use { assertEquals("rebase", it.opening.how) }
        obstacle.delete()
    }

    @Test
    fun `an upgrade encodes the held-out rows alone`() {
        trained { }
        val calls = HashMap<String, Int>()
        val counting = SignatureRunners { model ->
            val runner = Fixtures.runners.open(model)
            object : SignatureRunner by runner {
                override fun run(signature: String, inputs: Map<String, Tensor>) =
                    runner.run(signature, inputs).also { calls.merge(signature, 1, Int::plus) }
            }
        }
        Personalizer.open(home, null, counting, Fixtures.databases).use {
            calls.clear()
            it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next"))))
        }
        fun goldens(signature: String) = Fixtures.bundle().goldens.callsList.count { it.signature == signature }
        // Of 60 interactions 48..59 are held out, B = 4: three calls of 4 neighbours, and what was skipped beside 48 and
        // 51, and 54 and 57, two items each, in two calls each.
        assertEquals(3 + 4 + goldens("encode"), calls["encode"])
        assertEquals(2 * 20 / 4 + goldens("evaluate_encoded"), calls["evaluate_encoded"]) // 20 rows, gate 0 and 1
    }

    @Test
    fun `a ranking does not wait for what an upgrade computes`() {
        trained { }
        val next = Bundle.open(Fixtures.successor(File(folder.root, "next")))
        val pool = Executors.newSingleThreadExecutor()
        lateinit var device: Personalizer
        var ranked = 0
        val waiting = SignatureRunners { model ->
            val runner = Fixtures.runners.open(model)
            object : SignatureRunner by runner {
                override fun run(signature: String, inputs: Map<String, Tensor>): Map<String, FloatArray> {
                    if (signature == "rebase" && model.path.contains(next.identity.toByteArray().hex())) {
                        pool.submit(Callable { device.scores(ids(101..108)) }).get(60, TimeUnit.SECONDS)
                        ranked++
                    }
                    return runner.run(signature, inputs)
                }
            }
        }
        device = Personalizer.open(home, null, waiting, Fixtures.databases)
        device.use { it.upgrade(next) }
        assertTrue(ranked > Fixtures.bundle().goldens.callsList.count { it.signature == "rebase" })
        pool.shutdown()
    }

    @Test
    fun `a new device needs a bundle, and a profile of its fields`() {
        assertThrows(InputError::class.java) { open(null) }
        val fresh = File(folder.root, "fresh")
        assertThrows(InputError::class.java) {
            Personalizer.open(
                fresh, Fixtures.bundle(), Fixtures.runners, Fixtures.databases, profile = mapOf("size" to "1")
            )
        }
        assertFalse(fresh.exists())
    }

    @Test
    fun `a field that a bundle dropped is reported, and the device opens`() {
        trained { }
        val next = Fixtures.successor(File(folder.root, "next")) {
            setProfile(0, getProfile(0).toBuilder().setName("sex"))
        }
        Fixtures.device(home, Bundle.open(next)).use { // with the profile's field "age"
            assertEquals("rebase" to listOf("age"), it.opening.how to it.opening.profileUnknown)
        }
    }

    private fun open(given: Bundle?) =
        Personalizer.open(home, given, runners = Fixtures.runners, databases = Fixtures.databases)

    private fun kept(): List<ByteString> = File(home, "bundles").listFiles()!!.map { Bundle.open(it).identity }

    /** A bundle whose goldens say that every score is 0. */
    private fun wrongGoldens(): File {
        val goldens = Dccl.Goldens.parseFrom(File(Fixtures.tinyBundle, "goldens.pb").readBytes()).toBuilder()
        val at = goldens.callsList.indexOfFirst { call -> call.signature == "infer" }
        val call = goldens.getCalls(at).toBuilder()
        val output = call.getOutputs(0).toBuilder()
        output.data = ByteString.copyFrom(ByteArray(output.data.size()))
        val content = goldens.setCalls(at, call.setOutputs(0, output)).build().toByteArray()
        return Fixtures.withFile(File(folder.root, "wrong"), "goldens.pb", content)
    }

    // ---- The log's bounds, and the end -------------------------------------------------------------

    @Test
    fun `a history alone is cut to nine tenths of its bound`() = bounded(LogLimits(history = 10)) {
        it.remember(Fixtures.interactions(10))
        assertEquals(10, it.historySize)
        it.remember(Fixtures.interactions(1))
        assertEquals(9, it.historySize)
    }

    @Test
    fun `cut samples leave the history of those that stay`() = bounded(LogLimits(samples = 10, history = 10)) {
        val alone = Fixtures.interactions(20).map { one -> one.copy(skipped = emptyList()) }
        it.logMany(alone.take(11))
        assertEquals(11L to 9L, it.historySize to it.sampleCount) // the oldest sample has 2 interactions before it
        it.logMany(alone.drop(11))
        assertEquals(14L to 9L, it.historySize to it.sampleCount) // T = 5 before the oldest of 9
    }

    @Test
    fun `items count as met for the newest interactions, longer than the history`() =
        bounded(LogLimits(history = 5, met = 12)) {
            it.remember(List(13) { number -> Interaction(RawId(101 + number), 1, 0) })
            assertEquals(ids(listOf(101)), it.rank(ids(101..113), excludeHistory = true).map { one -> one.item })
        }

    @Test
    fun `an item that no longer counts as met is ranked again`() = bounded(LogLimits(history = 5, met = 12)) {
        it.remember(List(12) { number -> Interaction(RawId(101 + number), 1, 0) })
        assertEquals(0, it.rank(ids(101..112), excludeHistory = true).size)
        it.log(RawId(113)) // the thirteenth
        assertEquals(ids(listOf(101)), it.rank(ids(101..113), excludeHistory = true).map { one -> one.item })
    }

    @Test
    fun `what was met is asked of the log once`() {
        var asked = 0
        val counting = SqlDatabases { path ->
            val database = Fixtures.databases.open(path)
            object : SqlDatabase by database {
                override fun query(sql: String, vararg values: Any?): List<List<Any?>> {
                    if (sql == "SELECT item FROM met") asked++
                    return database.query(sql, *values)
                }
            }
        }
        Personalizer.open(home, Fixtures.bundle(), Fixtures.runners, counting).use {
            for (number in 101..105) {
                it.log(RawId(number))
                assertEquals(110 - number, it.rank(ids(101..110), excludeHistory = true).size)
            }
        }
        assertEquals(1, asked)
    }

    @Test
    fun `a bound below 1 is refused`() {
        assertThrows(InputError::class.java) { LogLimits(met = 0) }
    }

    @Test
    fun `a device that is closed twice says so`() {
        val device = Fixtures.device(home)
        device.scores(ids(101..102))
        repeat(2) { device.close() }
        val calls = listOf<() -> Any>(
            { device.log(RawId(101)) },
            { device.scores(ids(101..102)) },
            { device.personalize() },
            { device.forget() },
            { device.uploads }
        )
        for (call in calls) {
            val error = assertThrows(StateError::class.java) { call() }
            assertTrue(error.message!!.endsWith("closed; open the device again"))
        }
    }

    private fun bounded(limits: LogLimits, use: (Personalizer) -> Unit) =
        Personalizer.open(home, Fixtures.bundle(), Fixtures.runners, Fixtures.databases, limits = limits).use(use)
}

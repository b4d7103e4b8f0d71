package dccl.jvm

import dccl.core.DeviceState
import dccl.core.OnDamage
import dccl.core.Personalizer
import dccl.core.RawId
import dccl.core.StateError
import dccl.core.StorageError
import java.io.File
import java.io.RandomAccessFile
import java.nio.file.Files
import java.nio.file.attribute.PosixFilePermissions
import java.util.concurrent.TimeUnit
import kotlin.random.Random
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class DurabilityTest {
    @get:Rule
    val folder = TemporaryFolder()
    private val home by lazy { File(folder.root, "device") }

    private fun trained(): FloatArray = Fixtures.device(home).use {
        it.logMany(Fixtures.interactions())
        it.personalize()
        it.vector
    }

    @Test
    fun `a killed device loses no acknowledged sample and has a whole state`() { // D7
        repeat(KILLS) { round ->
            val child = ProcessBuilder(
                File(System.getProperty("java.home"), "bin/java").path, "-XX:TieredStopAtLevel=1", "-Xmx256m",
                "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path"),
                "-Ddccl.repository=${System.getProperty("dccl.repository")}",
                "-Ddccl.litert=${System.getProperty("dccl.litert")}", "dccl.jvm.Victim", home.path
            ).redirectError(ProcessBuilder.Redirect.DISCARD).start()
            var acknowledged = 0
            child.inputStream.bufferedReader().use { lines ->
                val until = 5 + Random(round).nextInt(20)
                while (acknowledged < until) acknowledged = lines.readLine().toInt()
                Thread.sleep(Random(round).nextLong(10))
                child.toHandle().destroyForcibly() // unlike the process's own, this leaves its output readable
                child.waitFor(10, TimeUnit.SECONDS)
                lines.lineSequence().lastOrNull()?.toIntOrNull()?.let { acknowledged = it }
            }
            DeviceState.fromBytes(File(home, "state.bin").readBytes())
            Fixtures.device(home).use {
                assertTrue("${it.historySize} of $acknowledged", it.historySize in acknowledged..acknowledged + 1L)
            }
        }
    }

    @Test
    fun `a damaged state is named, and set aside only when asked`() { // D9
        trained()
        val state = File(home, "state.bin")
        val whole = state.readBytes()
        for (damage in listOf(ByteArray(0), Random(0).nextBytes(300), whole.copyOf(whole.size - 1))) {
            state.writeBytes(damage)
            assertThrows(StateError::class.java) { Fixtures.device(home) }
            assertArrayEquals(damage, state.readBytes())
            open(OnDamage.RESET).use {
                assertEquals("first" to listOf("state.bin"), it.opening.how to it.opening.damaged)
                assertEquals(60, it.historySize)
            }
        }
    }

    @Test
    fun `a damaged log is named, and set aside only when asked`() { // D9
        val vector = trained()
        File(home, "samples.sqlite").writeBytes(Random(0).nextBytes(4096))
        File(home, "samples.sqlite-wal").delete()
        assertThrows(StateError::class.java) { open(OnDamage.ERROR) }
        open(OnDamage.RESET).use {
            assertEquals("resumed" to listOf("samples.sqlite"), it.opening.how to it.opening.damaged)
            assertArrayEquals(vector, it.vector, 0f)
        }
    }

    @Test
    fun `a log with rows that were never written is named at the opening, and set aside when asked`() {
        val damages = listOf(
            "DELETE FROM history WHERE position = 3", // a sample without its interaction, and a gap
            "UPDATE history SET item = x'00' WHERE position = 3",
            "UPDATE samples SET label = 2 WHERE number = 3",
            "UPDATE counters SET value = 'a'",
            "ALTER TABLE met RENAME TO mat"
        )
        for ((number, damage) in damages.withIndex()) {
            val copy = File(folder.root, "$number")
            Fixtures.device(copy).use {
                it.logMany(Fixtures.interactions())
                it.personalize()
                it.upload() // raises a counter
            }
            JdbcDatabase(File(copy, "samples.sqlite").path).use { it.execute(damage) }
            val error = assertThrows(damage, StateError::class.java) { Fixtures.device(copy) }
            assertTrue(error.message!!, error.message!!.contains("OnDamage.RESET"))
            open(OnDamage.RESET, copy).use {
                assertEquals(listOf("resumed", "samples.sqlite"), listOf(it.opening.how) + it.opening.damaged.take(1))
                assertEquals(0, it.historySize)
            }
        }
    }

    @Test
    fun `a log that is damaged while the device is open is named`() {
        trained()
        Fixtures.device(home).use {
            JdbcDatabase(File(home, "samples.sqlite").path).use { log -> log.execute("DELETE FROM history") }
            assertThrows(StateError::class.java) { it.personalize() }
        }
    }

    @Test
    fun `a state that cannot be written leaves the device as it was`() { // D11
        trained()
        val before = File(home, "state.bin").readBytes()
        Fixtures.device(home).use {
            val obstacle = File(home, "state.bin.new").also { file -> file.mkdir() } // root may write to any folder
            val (vector, gate) = it.vector to it.gate
            it.log(RawId(101))
            assertThrows(StorageError::class.java) { it.personalize() }
            assertArrayEquals(vector, it.vector, 0f)
            assertEquals(gate, it.gate, 0.0)
            obstacle.delete()
        }
        assertArrayEquals(before, File(home, "state.bin").readBytes())
    }

    @Test
    fun `a folder that cannot be made is named`() { // D11
        val file = folder.newFile("file")
        assertThrows(StorageError::class.java) { Fixtures.device(File(file, "device")) }
    }

    @Test
    fun `one object at a time has a folder open`() {
        Fixtures.device(home).use { assertThrows(StateError::class.java) { Fixtures.device(home) } }
        Fixtures.device(home).close()
    }

    @Test
    fun `an opening that is refused leaves the lock of the one that is open`() {
        Fixtures.device(home).use {
            assertThrows(StateError::class.java) { Fixtures.device(home) }
            val lock = File(home, "lock").path
            val child = ProcessBuilder(
                File(System.getProperty("java.home"), "bin/java").path, "-XX:TieredStopAtLevel=1", "-cp",
                System.getProperty("java.class.path"), "dccl.jvm.OtherProcess", lock
            ).redirectError(ProcessBuilder.Redirect.DISCARD).start()
            assertEquals("held", child.inputStream.bufferedReader().readLine())
        }
    }

    @Test
    fun `nobody but the owner may read a new state folder`() {
        trained()
        fun mode(file: File) = PosixFilePermissions.toString(Files.getPosixFilePermissions(file.toPath()))
        assertEquals("rwx------", mode(home))
        for (name in listOf("state.bin", "samples.sqlite", "device.id", "device.key")) {
            assertEquals(name, "rw-------", mode(File(home, name)))
        }
    }

    @Test
    fun `what is deleted from the database is overwritten`() {
        JdbcDatabase(File(folder.root, "any.sqlite").path).use {
            assertEquals(1L, it.query("PRAGMA secure_delete")[0][0])
        }
    }

    @Test
    fun `a device that has lost its state begins again on the newest bundle that it keeps`() {
        trained()
        File(home, "state.bin").writeText("damaged")
        Personalizer.open(home, null, Fixtures.runners, Fixtures.databases, onDamage = OnDamage.RESET).use {
            assertEquals("first" to Fixtures.bundle().identity, it.opening.how to it.bundle.identity)
        }
    }

    @Test
    fun `a damaged id is named with the way out`() {
        trained()
        File(home, "device.id").writeBytes(ByteArray(2)) // as a power cut may leave it
        val error = assertThrows(StateError::class.java) { open(OnDamage.ERROR) }
        assertTrue(error.message!!, error.message!!.endsWith("write the device's id into it, or remove it for a new one"))
    }

    private fun open(onDamage: OnDamage, at: File = home) =
        Personalizer.open(at, Fixtures.bundle(), Fixtures.runners, Fixtures.databases, onDamage = onDamage)

    private companion object {
        const val KILLS = 6 // each starts a JVM
    }
}

/** Says whether a lock is held. */
object OtherProcess {
    @JvmStatic
    fun main(arguments: Array<String>) =
        println(if (RandomAccessFile(arguments[0], "rw").channel.tryLock() == null) "held" else "free")
}

/** Logs and personalises until it is killed; says how many interactions are in the log after each that is. */
object Victim {
    @JvmStatic
    fun main(arguments: Array<String>) {
        Fixtures.device(File(arguments[0])).use { device ->
            repeat(10_000) { round ->
                device.log(RawId(101 + round % 20), round % 2)
                println(device.historySize)
                if (round % 4 == 3) device.personalize()
            }
        }
    }
}

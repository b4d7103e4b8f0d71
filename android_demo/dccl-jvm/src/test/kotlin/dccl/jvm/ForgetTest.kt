package dccl.jvm

import dccl.core.Bundle
import dccl.core.Personalizer
import dccl.core.SqlDatabase
import dccl.core.SqlDatabases
import dccl.core.StorageError
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Forgetting a user where the disk is full. */
class ForgetTest : DeviceTests() {
    private var refused = "nothing" // begin of the statements for which there is no room

    private fun open() = Personalizer.open(
        home,
        Fixtures.bundle(),
        Fixtures.runners,
        SqlDatabases { path ->
            val database = Fixtures.databases.open(path)
            object : SqlDatabase by database {
                override fun execute(sql: String, vararg values: Any?) {
                    if (sql.startsWith(refused)) throw StorageError("disk full; nothing of it was done")
                    database.execute(sql, *values)
                }
            }
        }
    )

    private fun lived(use: (Personalizer) -> Unit) = open().use {
        it.logMany(Fixtures.interactions())
        it.personalize()
        it.upgrade(Bundle.open(Fixtures.successor(File(folder.root, "next")))) // leaves the state beside the bundle
        use(it)
    }

    private fun leftStates() = home.walk().filter { it.name.startsWith("state.bin") && it.parentFile != home }.toList()

    @Test
    fun `files go first, and what could not be erased is said`() = lived {
        refused = "DELETE FROM samples"
        val error = assertThrows(StorageError::class.java) { it.forget() }
        assertTrue(error.message!!, error.message!!.startsWith("forget: not all could be erased; call it again"))
        assertEquals(emptyList<File>() to 60L, leftStates() to it.historySize)
        refused = "nothing"
        it.forget()
        assertEquals(0L to 0L, it.historySize to it.sampleCount)
    }

    @Test
    fun `no room for tidying the database is no failure`() = lived {
        refused = "VACUUM"
        it.forget()
        assertEquals(0L to 0L, it.historySize to it.sampleCount)
    }

    @Test
    fun `what an interrupted write left of a state goes too`() = lived {
        val kept = File(home, "bundles").listFiles()!!.map { bundle -> File(bundle, "state.bin.new") }
        kept.forEach { file -> file.writeText("half a vector") }
        it.forget()
        assertFalse(kept.any(File::exists))
    }
}

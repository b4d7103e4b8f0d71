package dccl.jvm

import dccl.core.Bundle
import dccl.core.BundleError
import dccl.core.Personalizer
import dccl.core.StateError
import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class RollbackTest : DeviceTests() {
    private val first = Fixtures.bundle().identity
    private val next by lazy { Bundle.open(Fixtures.successor(File(folder.root, "next"))) }

    @Test
    fun `a device returns with the vector, gate, evidence and samples that it left`() = trained {
        val before = it.state
        it.upgrade(next)
        it.personalize()
        it.upload() // takes number 1, which stays used
        assertEquals("rollback" to first, it.rollback().run { how to bundle })
        assertArrayEquals(before.current.vector, it.vector, 0f)
        assertEquals(
            listOf(before.gate, before.evidence, before.samples, 60L),
            listOf(it.gate, it.state.evidence, it.state.samples, it.historySize)
        )
        assertEquals(1L to before.profile, it.state.run { sequence to profile })
        assertEquals(1, File(home, "bundles").list()!!.size)
    }

    @Test
    fun `a rollback lasts, though the app gives the bundle that was left`() {
        trained {
            it.upgrade(next)
            it.rollback()
            assertThrows(BundleError::class.java) { it.upgrade(next) }
        }
        Personalizer.open(home, next, Fixtures.runners, Fixtures.databases).use {
            assertEquals("resumed" to first, it.opening.how to it.bundle.identity)
            assertTrue(it.opening.refused, it.opening.refused.contains("it was rolled back"))
            assertEquals(next.identity, it.upgrade(next, retry = true).bundle)
        }
    }

    @Test
    fun `there is one way back`() = trained {
        assertThrows(StateError::class.java) { it.rollback() }
        it.upgrade(next)
        it.rollback()
        assertThrows(StateError::class.java) { it.rollback() }
        assertEquals(first, it.bundle.identity)
    }
}

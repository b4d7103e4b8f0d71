package dccl.jvm

import dccl.core.Bundle
import dccl.core.BundleError
import dccl.core.ModelError
import dccl.core.Personalizer
import dccl.core.SignatureRunner
import dccl.core.SignatureRunners
import dccl.core.hex
import java.io.File
import java.io.IOException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** What a device remembers of bundles that it could not use. */
class RefusalTest : DeviceTests() {
    private val next by lazy {
        Bundle.open(Fixtures.successor(File(folder.root, "next")) { oldestRuntime = "tflite-runtime 2.15.0" })
    }

    private fun runtime(name: String) = SignatureRunners { model ->
        val runner = Fixtures.runners.open(model)
        object : SignatureRunner by runner {
            override val runtime = name
        }
    }

    private fun open(runners: SignatureRunners, given: Bundle? = next) =
        Personalizer.open(home, given, runners, Fixtures.databases)

    @Test
    fun `a bundle that an old runtime refused is tried again on a newer one, not on the old one`() {
        trained { }
        open(runtime("tensorflow-lite 2.14.0")).use {
            assertTrue(it.opening.refused, it.opening.refused.contains("expected tflite-runtime 2.15.0 or newer"))
        }
        open(runtime("tensorflow-lite 2.14.0")).use {
            assertTrue(it.opening.refused, it.opening.refused.contains("was refused before"))
        }
        open(runtime("tensorflow-lite 2.16.1")).use {
            assertEquals(listOf("rebase", "", next.identity), it.opening.run { listOf(how, refused, bundle) })
        }
    }

    @Test
    fun `an upgrade to a bundle that was refused before takes a retry`() {
        trained { }
        open(runtime("tensorflow-lite 2.14.0"), null).use { device ->
            repeat(2) { assertThrows(BundleError::class.java) { device.upgrade(next) } }
            val again = assertThrows(BundleError::class.java) { device.upgrade(next, retry = true) }
            assertTrue(again.message!!, again.message!!.startsWith("manifest.pb: "))
            val before = assertThrows(BundleError::class.java) { device.upgrade(next) }
            assertTrue(before.message!!, before.message!!.endsWith("upgrade(retry = true) tries it again"))
        }
    }

    @Test
    fun `a file that could not be read is not held against its bundle`() {
        trained { }
        val unreadable = SignatureRunners { model ->
            val isNew = model.path.contains(next.identity.toByteArray().hex())
            if (isNew) throw ModelError("$model: cannot be read", IOException("input/output error"))
            Fixtures.runners.open(model)
        }
        open(unreadable).use { assertTrue(it.opening.refused.contains("cannot be read")) }
        open(Fixtures.runners).use { assertEquals("rebase", it.opening.how) }
    }
}

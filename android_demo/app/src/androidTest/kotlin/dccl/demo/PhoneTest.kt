package dccl.demo

import androidx.test.platform.app.InstrumentationRegistry
import dccl.android.InterpreterRunner
import dccl.android.assetBundle
import dccl.core.CheckedRunner
import dccl.core.replayGoldens
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** On a phone or an emulator: `./gradlew connectedAndroidTest`. */
class PhoneTest {
    private val app = InstrumentationRegistry.getInstrumentation().targetContext.applicationContext as DemoApp

    @Test
    fun thisPhonesInterpreterComputesWhatTheExportersDid() {
        val bundle = assetBundle(app)
        val results = CheckedRunner(InterpreterRunner(bundle.model)).use { replayGoldens(bundle, it) }
        assertTrue(results.isNotEmpty())
        assertEquals(emptyList<Any>(), results.filterNot { it.passed })
    }

    @Test
    fun thePhoneLearns() {
        app.person = app.data.people[0]
        app.forget()
        val device = app.demoDevice()
        val report = device.play(60)
        assertEquals(60L, device.personalizer.sampleCount)
        assertTrue(report.steps > 0 && report.personalLoss!!.isFinite())
        assertTrue("${report.seconds} s", report.seconds < 5)
    }
}

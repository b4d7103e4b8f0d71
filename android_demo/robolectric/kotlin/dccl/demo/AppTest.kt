package dccl.demo

import android.app.Activity
import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.content.DialogInterface
import android.graphics.Bitmap
import android.graphics.Canvas
import android.net.NetworkCapabilities
import android.os.Looper
import android.widget.Button
import android.widget.ListView
import android.widget.TextView
import dccl.android.AndroidDatabase
import dccl.android.BackgroundJob
import dccl.android.PersonalizeJob
import dccl.android.UpdateJob
import dccl.android.UploadJob
import dccl.core.Collector
import dccl.core.DownloadError
import dccl.core.RawId
import dccl.core.SignatureRunner
import dccl.core.StateError
import dccl.jvm.LiteRtRunner
import java.io.File
import java.nio.file.Path
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadow.api.Shadow
import org.robolectric.shadows.ShadowAlertDialog

/**
 * The app as it is, its resources, assets, SQLite and jobs, on a JVM; TFLite alone is replaced, by LiteRT's C library,
 * since the interpreter's Java binding has native libraries for Android only.
 */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = AppTest.App::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class AppTest {
    class App : DemoApp() {
        override var collector: Collector? = null

        override fun runner(model: File): SignatureRunner =
            LiteRtRunner(Path.of(System.getProperty("dccl.litert")), model)
    }

    private val app get() = RuntimeEnvironment.getApplication() as App

    @Before
    fun choose() {
        app.person = app.data.people[0]
    }

    private inline fun <reified A : Activity> open(): A =
        Robolectric.buildActivity(A::class.java).setup().get().also { settle() }

    /** Waits for the device's thread, then for the main one. */
    private fun settle() {
        val done = CountDownLatch(1)
        app.background({}, { done.countDown() })
        waitUntil { done.count == 0L }
    }

    private fun waitUntil(holds: () -> Boolean) {
        val end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60)
        while (!holds() && System.nanoTime() < end) {
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(5)
        }
        assertTrue("the device's thread has not finished", holds())
    }

    private fun Activity.text(id: Int) = findViewById<TextView>(id).text.toString()

    /** What a list shows, without the marks of what has risen. */
    private fun Activity.titles(id: Int): List<String> = findViewById<ListView>(id).adapter.let { list ->
        List(list.count) { "${list.getItem(it)}".substringBefore("  ") }
    }

    private fun Activity.press(id: Int) {
        findViewById<Button>(id).performClick()
        settle()
    }

    private fun Activity.tap(list: Int, place: Int) {
        findViewById<ListView>(list).let { it.performItemClick(it.getChildAt(place), place, 0) }
        settle()
    }

    @Test
    fun `everybody who can be chosen is listed`() {
        val people = open<PeopleActivity>().titles(R.id.people)
        assertEquals(app.data.people.size, people.size)
        assertTrue(people[0].startsWith(app.data.people[0].name))
    }

    @Test
    fun `a tap is logged with its item, which then leaves both columns`() {
        val movies = open<MoviesActivity>()
        val first = movies.titles(R.id.yours)[0]
        val before = app.device.historySize
        movies.tap(R.id.yours, 0)
        assertEquals(before + 1, app.device.historySize)
        assertEquals(1L, app.device.sampleCount)
        assertTrue(first !in movies.titles(R.id.yours) && first !in movies.titles(R.id.everyone))
    }

    @Test
    fun `what is logged is what was shown at the tap, though the columns have changed since`() {
        val movies = open<MoviesActivity>()
        val shown = movies.titles(R.id.everyone)
        val list = movies.findViewById<ListView>(R.id.everyone)
        list.performItemClick(null, 0, 0)
        val busy = CountDownLatch(1)
        app.background({ busy.await() }, {}) // until the first tap's result is shown
        list.performItemClick(null, 3, 0)
        waitUntil { movies.titles(R.id.everyone) != shown }
        busy.countDown()
        settle()
        val home = File(app.noBackupFilesDir, "dccl/${app.data.people[0].name}/samples.sqlite").path
        val logged = AndroidDatabase(home).use { it.query("SELECT item FROM samples ORDER BY number") }
        val titles = app.data.items.associate { it.id to it.title }
        assertEquals(listOf(shown[0], shown[3]), logged.map { titles[RawId(it[0] as Long)] })
    }

    @Test
    fun `a tap is not logged to somebody who was chosen after it`() {
        val movies = open<MoviesActivity>()
        val busy = CountDownLatch(1)
        app.background({ busy.await() }, {}) // as while an earlier tap still trains
        movies.findViewById<ListView>(R.id.everyone).performItemClick(null, 0, 0)
        app.person = app.data.people[1]
        busy.countDown()
        settle()
        assertEquals(0L, app.device.sampleCount)
        app.person = app.data.people[0]
        assertEquals(0L, app.device.sampleCount)
    }

    @Test
    fun `a list stays where it was scrolled to when its person chooses`() {
        val movies = open<MoviesActivity>()
        val list = movies.findViewById<ListView>(R.id.yours)
        val adapter = list.adapter
        movies.tap(R.id.yours, 0)
        assertTrue(adapter === list.adapter) // another one would begin at its top
    }

    @Test
    fun `a job that fails for a reason that nobody foresaw ends, and is not run again at once`() {
        val job = Robolectric.setupService(Failing::class.java)
        job.onStartJob(Shadow.newInstanceOf(JobParameters::class.java))
        waitUntil { shadowOf(job).isJobFinished }
        assertEquals(false, shadowOf(job).isRescheduleNeeded)
    }

    class Failing : BackgroundJob() {
        override fun work(shouldStop: () -> Boolean): Boolean = throw IllegalStateException("nobody foresaw this")
    }

    @Test
    fun `the phone learns from what its person goes on to choose`() {
        val movies = open<MoviesActivity>()
        assertEquals(movies.titles(R.id.everyone), movies.titles(R.id.yours)) // the gate is closed
        val vector = app.device.vector
        picture(movies, "before")
        repeat(3) { movies.press(R.id.play) }
        assertEquals(60L, app.device.sampleCount)
        assertTrue(!vector.contentEquals(app.device.vector))
        assertTrue(movies.text(R.id.status).contains("Learned from 48 samples")) // 0.2 of 60 are held out
        val state = app.device.state
        val wins =
            state.evidence.personalLoss!! < state.evidence.cloudLoss!! - app.device.bundle.manifest.training.gateMargin
        assertEquals(if (wins) 1.0 else 0.0, state.gate, 0.0)
        if (wins) assertNotEquals(movies.titles(R.id.everyone), movies.titles(R.id.yours))
        picture(movies, "after")
        picture(open<InsideActivity>(), "inside")
    }

    @Test
    fun `an upload is queued, and forgetting begins again`() {
        val movies = open<MoviesActivity>()
        movies.press(R.id.play)
        val inside = open<InsideActivity>()
        inside.press(R.id.upload)
        assertEquals(listOf("queued"), app.device.uploads.map { it.status })
        assertTrue(inside.text(R.id.facts).contains("queued"))
        inside.press(R.id.forget)
        assertEquals(1, app.device.uploads.size) // it asks first
        ShadowAlertDialog.getLatestAlertDialog().getButton(DialogInterface.BUTTON_POSITIVE).performClick()
        settle()
        assertEquals(emptyList<Any>(), app.device.uploads)
        assertEquals(app.data.people[0].profile, app.device.state.profile)
        assertEquals(0L, app.device.sampleCount)
        assertEquals(app.data.people[0].past.size.toLong(), app.device.historySize)
    }

    @Test
    fun `what was learned is there after a restart`() {
        open<MoviesActivity>().press(R.id.play)
        val vector = app.device.vector
        app.person = app.data.people[1] // closes the first one's device
        app.device
        app.person = app.data.people[0]
        assertTrue(vector.contentEquals(app.device.vector))
        assertEquals("resumed", app.device.opening.how)
    }

    @Test
    fun `nothing of a user who is forgotten stays in the files of Android's SQLite`() {
        app.demoDevice().play()
        app.device.upload()
        val home = File(app.noBackupFilesDir, "dccl/${app.data.people[0].name}")
        fun uploads() = home.walk().filter {
            it.name.startsWith("samples.sqlite") && it.readText(Charsets.ISO_8859_1).contains(app.device.deviceId)
        }
        assertEquals(true, uploads().any())
        app.device.forget()
        assertEquals(false, uploads().any())
    }

    @Test
    fun `a device that was closed says so`() {
        open<MoviesActivity>()
        val device = app.device
        app.person = app.data.people[1] // closes the first one's device
        app.device
        val error = assertThrows(StateError::class.java) { device.log(RawId(1)) }
        assertTrue(error.message!!.endsWith("closed; open the device again"))
        assertThrows(StateError::class.java) { device.uploads }
        assertThrows(StateError::class.java) { device.forget() }
    }

    @Test
    fun `personalisation waits for the charger, and the upload for an unmetered network`() {
        open<MoviesActivity>()
        app.collector = nobody
        val scheduler = app.getSystemService(JobScheduler::class.java)
        val training = scheduler.allPendingJobs.single()
        assertTrue(training.isRequireCharging && training.isPeriodic)
        app.demoDevice().play()
        val job = Robolectric.setupService(PersonalizeJob::class.java)
        assertTrue(job.work { false })
        val upload = scheduler.allPendingJobs.single { it.id != training.id }
        assertTrue(upload.requiredNetwork!!.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED))
        assertEquals(JobInfo.BACKOFF_POLICY_EXPONENTIAL, upload.backoffPolicy)
        assertEquals(false, Robolectric.setupService(UploadJob::class.java).work { false }) // again, later
        assertEquals(1, app.device.uploads.single().attempts)
    }

    @Test
    fun `a newer bundle is looked for once a day, while the phone charges on an unmetered network`() {
        app.collector = nobody
        open<MoviesActivity>() // without a server it opens all the same
        val jobs = app.getSystemService(JobScheduler::class.java).allPendingJobs
        val update = jobs.single { it.service.className == UpdateJob::class.java.name }
        assertTrue(update.isRequireCharging && update.isPeriodic)
        assertTrue(update.requiredNetwork!!.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED))
        val job = Robolectric.setupService(UpdateJob::class.java)
        assertThrows(DownloadError::class.java) { job.work { false } }
    }

    private val nobody = Collector("http://127.0.0.1:1")

    private fun picture(activity: Activity, name: String) {
        val folder = System.getProperty("dccl.pictures")?.let(::File) ?: return
        shadowOf(Looper.getMainLooper()).idle()
        val view = activity.window.decorView
        val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        folder.mkdirs()
        File(folder, "$name.png").outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
    }
}

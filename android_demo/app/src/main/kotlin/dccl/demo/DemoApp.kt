package dccl.demo

import android.app.Application
import android.os.Handler
import android.os.Looper
import android.widget.Toast
import dccl.android.AndroidDatabase
import dccl.android.DeviceOwner
import dccl.android.HttpTransport
import dccl.android.InterpreterRunner
import dccl.android.assetBundle
import dccl.android.schedulePersonalization
import dccl.core.DeviceError
import dccl.core.KEY_BYTES
import dccl.core.Personalizer
import dccl.core.SignatureRunner
import dccl.core.Transport
import java.io.File
import java.security.SecureRandom
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Holds the one device of the chosen person, and the thread on which all work with it is done. */
open class DemoApp :
    Application(),
    DeviceOwner {
    private val main = Handler(Looper.getMainLooper())
    private val executor: ExecutorService = Executors.newSingleThreadExecutor()
    private var opened: DemoDevice? = null

    val data: DemoData by lazy { DemoData(assets.open("demo.json").bufferedReader().use { it.readText() }) }

    /** Whose phone this is; null until somebody is chosen. */
    var person: Person?
        get() = preferences.getString(PERSON, null)?.let { name -> data.people.firstOrNull { it.name == name } }
        set(person) = preferences.edit().putString(PERSON, person?.name).apply()

    private val preferences get() = getSharedPreferences("demo", MODE_PRIVATE)

    override val device: Personalizer get() = demoDevice().personalizer

    override val transport: Transport?
        get() = getString(R.string.upload_url).takeIf { it.isNotEmpty() }?.let(::HttpTransport)

    /** The chosen person's device, opened on first use. */
    @Synchronized
    fun demoDevice(): DemoDevice {
        val person = checkNotNull(person) { "person: expected somebody to be chosen first" }
        opened?.let { if (it.person.name == person.name) return it }
        opened?.personalizer?.close()
        opened = null
        val home = File(noBackupFilesDir, "dccl/${person.name}")
        val personalizer = Personalizer.open(
            stateDir = home,
            bundle = assetBundle(this),
            runners = ::runner,
            databases = ::AndroidDatabase,
            key = keyFor(home),
            profile = person.profile
        )
        schedulePersonalization(this)
        return DemoDevice(personalizer, data, person).also { opened = it }
    }

    /** Forgets the chosen person's device, which begins again with their profile and past when it is next used. */
    @Synchronized
    fun forget() {
        demoDevice().personalizer.run {
            forget()
            close()
        }
        opened = null
    }

    protected open fun runner(model: File): SignatureRunner = InterpreterRunner(model)

    /** A real app gets its key from the cloud's registration; the demo makes one up, once. */
    private fun keyFor(home: File): ByteArray? =
        if (File(home, "device.key").exists()) null else ByteArray(KEY_BYTES).also { SecureRandom().nextBytes(it) }

    /** Only in tests: a phone ends the process instead. */
    override fun onTerminate() {
        opened?.personalizer?.close()
        super.onTerminate()
    }

    /** Does [work] with the device on its thread, then [then] on the main thread; says it where that fails. */
    fun <R> background(work: (DemoDevice) -> R, then: (R) -> Unit) = executor.execute {
        try {
            val result = work(demoDevice())
            main.post { then(result) }
        } catch (error: DeviceError) {
            main.post { Toast.makeText(this, error.message, Toast.LENGTH_LONG).show() }
        }
    }

    private companion object {
        const val PERSON = "person"
    }
}

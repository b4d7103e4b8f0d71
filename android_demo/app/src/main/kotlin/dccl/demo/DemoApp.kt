package dccl.demo

import android.app.Application
import android.os.Handler
import android.os.Looper
import android.util.Log
import android.widget.Toast
import dccl.android.AndroidDatabase
import dccl.android.DeviceOwner
import dccl.android.InterpreterRunner
import dccl.android.assetBundle
import dccl.android.schedulePersonalization
import dccl.android.scheduleUpdates
import dccl.core.Collector
import dccl.core.KEY_BYTES
import dccl.core.Personalizer
import dccl.core.RegistrationError
import dccl.core.SignatureRunner
import dccl.core.StorageError
import dccl.core.register
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

    override val collector: Collector?
        get() = getString(R.string.collector).takeIf { it.isNotEmpty() }?.let(::Collector)

    private val chosen get() = checkNotNull(person) { "person: expected somebody to be chosen first" }

    /** A person's device, opened on first use; by default the chosen one's. */
    @Synchronized
    fun demoDevice(person: Person = chosen): DemoDevice {
        opened?.let { if (it.person.name == person.name) return it }
        opened?.personalizer?.close()
        opened = null
        val home = File(noBackupFilesDir, "dccl/${person.name}")
        val personalizer = Personalizer.open(
            stateDir = home,
            bundle = shipped(),
            runners = ::runner,
            databases = ::AndroidDatabase,
            key = keyFor(home),
            profile = person.profile
        )
        schedulePersonalization(this)
        if (collector != null) scheduleUpdates(this)
        return DemoDevice(personalizer, data, person).also { opened = it }
    }

    /** The bundle in the assets; null where the disk has no room to unpack it: a device has a copy of its own. */
    private fun shipped() = try {
        assetBundle(this)
    } catch (error: StorageError) {
        Log.w(TAG, error)
        null
    }

    /** Forgets a person's device, which begins again with their profile and past when it is next used. */
    @Synchronized
    fun forget(person: Person = chosen) {
        demoDevice(person).personalizer.run {
            forget()
            close()
        }
        opened = null
    }

    protected open fun runner(model: File): SignatureRunner = InterpreterRunner(model)

    /** The key to open a new device with: none where a collector gives it, else one that is made up, once. */
    private fun keyFor(home: File): ByteArray? {
        if (File(home, "device.key").exists()) return null
        val collector = collector ?: return ByteArray(KEY_BYTES).also { SecureRandom().nextBytes(it) }
        try {
            collector.register(home, orNewId = true)
        } catch (error: RegistrationError) { // such as without a network: at the next start
            Log.w(TAG, error)
        }
        return null
    }

    /** Only in tests: a phone ends the process instead. */
    override fun onTerminate() {
        opened?.personalizer?.close()
        super.onTerminate()
    }

    /**
     * Does [work] with the device on its thread, then [then] on the main thread; says it where that fails. Called on the
     * main thread: whose device it is, is decided now, and nothing is done once somebody else was chosen.
     */
    fun <R> background(work: (DemoDevice) -> R, then: (R) -> Unit) {
        val asked = person ?: return
        executor.execute {
            if (person !== asked) return@execute
            try {
                val result = work(demoDevice(asked))
                main.post { if (person === asked) then(result) }
            } catch (error: Exception) { // of the device, or of this app: neither is worth a crash
                Log.w(TAG, error)
                main.post { Toast.makeText(this, error.message ?: "$error", Toast.LENGTH_LONG).show() }
            }
        }
    }

    private companion object {
        const val TAG = "dccl"
        const val PERSON = "person"
    }
}

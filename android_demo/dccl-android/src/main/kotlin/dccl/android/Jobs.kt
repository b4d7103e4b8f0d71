package dccl.android

import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.ComponentName
import android.content.Context
import android.util.Log
import dccl.core.BundleError
import dccl.core.DeviceError
import dccl.core.ModelError
import dccl.core.fetchBundle
import java.io.File
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread

private const val PERSONALIZE = 0xDCC1
private const val UPLOAD = 0xDCC2
private const val UPDATE = 0xDCC3
private const val TAG = "dccl"

/**
 * Asks the system to personalise about once a day while the phone charges, and to upload afterwards on an unmetered
 * network. Call it once, when the app starts; a job that is scheduled already stays as it is.
 */
fun schedulePersonalization(context: Context) = scheduleDaily(context, PERSONALIZE, PersonalizeJob::class.java) { }

/**
 * Asks the system to look for a newer bundle about once a day while the phone charges, on an unmetered network. Call it
 * once, when the app starts; a job that is scheduled already stays as it is.
 */
fun scheduleUpdates(context: Context) = scheduleDaily(context, UPDATE, UpdateJob::class.java) {
    setRequiredNetworkType(JobInfo.NETWORK_TYPE_UNMETERED)
}

private fun scheduleDaily(context: Context, id: Int, job: Class<out JobService>, more: JobInfo.Builder.() -> Unit) {
    val scheduler = context.getSystemService(JobScheduler::class.java)
    if (scheduler.getPendingJob(id) != null) return
    val daily = JobInfo.Builder(id, ComponentName(context, job))
        .setRequiresCharging(true)
        .setPeriodic(TimeUnit.DAYS.toMillis(1))
    scheduler.schedule(daily.apply(more).build())
}

/** Asks the system to send what waits, and to try again later and later (from 15 minutes on) if that fails. */
fun scheduleUpload(context: Context) {
    val job = JobInfo.Builder(UPLOAD, ComponentName(context, UploadJob::class.java))
        .setRequiredNetworkType(JobInfo.NETWORK_TYPE_UNMETERED)
        .setBackoffCriteria(TimeUnit.MINUTES.toMillis(15), JobInfo.BACKOFF_POLICY_EXPONENTIAL)
        .build()
    context.getSystemService(JobScheduler::class.java).schedule(job)
}

/** Trains the vector, queues an upload of it if it is news, and schedules that. What was trained before the system stops it counts. */
class PersonalizeJob : BackgroundJob() {
    override fun work(shouldStop: () -> Boolean): Boolean {
        val device = deviceOwner.device
        device.personalize(shouldStop = shouldStop)
        if (deviceOwner.collector != null) {
            if (device.uploadIsDue) device.upload()
            scheduleUpload(this)
        }
        return true // the next period is soon enough
    }
}

/** Sends what waits, and no sooner than the collector wants it. */
class UploadJob : BackgroundJob() {
    override fun work(shouldStop: () -> Boolean): Boolean =
        deviceOwner.collector?.let { deviceOwner.device.send(it) } ?: true
}

/** Goes over to the newest bundle that the collector has for this device. */
class UpdateJob : BackgroundJob() {
    override fun work(shouldStop: () -> Boolean): Boolean = synchronized(lock) {
        val device = deviceOwner.device
        val bundle = deviceOwner.collector?.fetchBundle(device, File(cacheDir, "dccl-download")) ?: return true
        try {
            device.upgrade(bundle)
        } finally {
            bundle.folder.deleteRecursively() // the device has a copy, or has refused it
        }
        true // the next period is soon enough
    }

    private companion object {
        val lock = Any() // a job that was stopped may still be at it
    }
}

/** A job on a thread of its own. */
abstract class BackgroundJob : JobService() {
    @Volatile private var stopped = AtomicBoolean()

    /** @return false to be run again after the back-off. */
    abstract fun work(shouldStop: () -> Boolean): Boolean

    override fun onStartJob(parameters: JobParameters): Boolean {
        val stop = AtomicBoolean().also { stopped = it }
        thread(name = javaClass.simpleName) {
            val done = try {
                work(stop::get)
            } catch (error: DeviceError) { // what is stored is intact
                Log.w(TAG, error)
                error is BundleError || error is ModelError // a bundle that is refused stays so; a full disk does not
            } catch (error: Exception) { // a fault of the code, which coming back soon would not mend
                Log.e(TAG, "the job has failed and waits for its next time", error)
                true
            }
            jobFinished(parameters, !done)
        }
        return true
    }

    override fun onStopJob(parameters: JobParameters): Boolean {
        stopped.set(true)
        return true
    }
}

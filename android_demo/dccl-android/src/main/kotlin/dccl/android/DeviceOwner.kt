package dccl.android

import android.content.Context
import dccl.core.Collector
import dccl.core.Personalizer

/** What the app's `Application` implements, so that the jobs find its one device. */
interface DeviceOwner {
    /** The device, opened on first use; called off the main thread. */
    val device: Personalizer

    /** Takes uploads and has bundles; null: there is none, and uploads wait. */
    val collector: Collector?
}

internal val Context.deviceOwner: DeviceOwner
    get() = applicationContext as? DeviceOwner
        ?: throw IllegalStateException("application: expected a DeviceOwner, got ${applicationContext.javaClass.name}")

package dccl.android

import android.content.Context
import dccl.core.Personalizer
import dccl.core.Transport

/** What the app's `Application` implements, so that the jobs find its one device. */
interface DeviceOwner {
    /** The device, opened on first use; called off the main thread. */
    val device: Personalizer

    /** How uploads travel; null: there is no server, they wait. */
    val transport: Transport?
}

internal val Context.deviceOwner: DeviceOwner
    get() = applicationContext as? DeviceOwner
        ?: throw IllegalStateException("application: expected a DeviceOwner, got ${applicationContext.javaClass.name}")

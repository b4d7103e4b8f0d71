package dccl.core

import com.google.protobuf.ByteString
import java.io.IOException

/**
 * Brings bundles into use: copied into the device's own store, accepted here before anything of the device's is
 * entrusted to them, and remembered if they were not.
 */
internal class Installer(private val folder: StateFolder, private val runners: SignatureRunners) {
    /**
     * A bundle that is to be used from now on.
     *
     * @param runtime the one in use; null for a device without any bundle, which has nothing to lose by trying again.
     * @param retry tries also a bundle that was refused before.
     * @throws DeviceError it was refused, now or before, or cannot be copied; the bundles kept are as they were.
     */
    fun new(bundle: Bundle, runtime: String?, retry: Boolean = false): Learner {
        val before = if (retry) null else runtime?.let { folder.refusals.on(it)[bundle.identity] }
        if (before != null) throw BundleError(before)
        val kept = folder.bundles.adopt(bundle)
        return try {
            accept(kept, runners)
        } catch (error: Throwable) {
            if (runtime != null && error is DeviceError) refuse(bundle.identity, runtime, error)
            folder.tidyBundles()
            throw error
        }
    }

    /** A bundle of the store, which was accepted when it came; if it is damaged there, the same one from [source]. */
    fun kept(identity: ByteString, source: Bundle?): Learner {
        val bundle = try {
            folder.bundles.open(identity)
        } catch (error: BundleError) {
            if (source == null || source.identity != identity) throw error
            folder.bundles.adopt(source)
        }
        return Learner.open(bundle, runners)
    }

    /** The bundle that came last and was not refused, for a device that has lost its state. */
    fun newest(): Bundle {
        val refused = folder.refusals.all()
        val identity = folder.bundles.newest().firstOrNull { it !in refused }
            ?: throw InputError("bundle: expected one for a new device, got none")
        return folder.bundles.open(identity)
    }

    private fun refuse(identity: ByteString, runtime: String, error: DeviceError) {
        if (error.cause is IOException) return // no fault of the bundle's
        try {
            folder.refusals.add(identity, runtime, error.message.orEmpty())
        } catch (_: StorageError) { // on a full disk: it is tried once more
        }
    }
}

/** What a new bundle has to pass on this device, besides its hashes; throws DeviceError if it does not. */
private fun accept(bundle: Bundle, runners: SignatureRunners): Learner {
    requireCertificate(bundle)
    val learner = Learner.open(bundle, runners)
    try {
        requireGoldens(learner)
    } catch (error: Throwable) {
        learner.close()
        throw error
    }
    return learner
}

/** Throws BundleError unless the certificate lists checks and all of them were passed. */
private fun requireCertificate(bundle: Bundle) {
    val checks = (bundle.certificate as? Map<*, *>)?.get("checks") as? List<*>
    if (checks.isNullOrEmpty()) {
        throw BundleError("certificate.json: expected the checks that the export passed, got none; export it again")
    }
    for (check in checks) {
        val facts = check as? Map<*, *>
        if (facts?.get("passed") != true) {
            throw BundleError(
                "certificate.json: expected every check passed, got ${facts?.get("name")} failed; export it again"
            )
        }
    }
}

/** Refuses a runner that does not compute what the exporter's did: a golden call differs by more than its tolerance. */
private fun requireGoldens(learner: Learner) {
    val runner = learner.engine.runner
    val wrong = try {
        replayGoldens(learner.bundle, runner).filterNot { it.passed }
    } catch (error: InputError) {
        throw BundleError("goldens.pb: ${error.message}; export the bundle again", error)
    }
    wrong.maxByOrNull { it.difference / it.tolerance }?.let {
        throw BundleError(
            "goldens.pb: expected ${it.signature}.${it.output} within ${it.tolerance}, got ${it.difference} on " +
                "${runner.runtime} (${wrong.size} outputs differ); stay on the bundle before this one"
        )
    }
}

package dccl.core

import com.google.protobuf.ByteString

/**
 * Brings bundles into use: copied into the device's own store, and accepted here before anything of the device's is
 * entrusted to them.
 */
internal class Installer(private val folder: StateFolder, private val runners: SignatureRunners) {
    /**
     * A bundle that is to be used from now on.
     *
     * @throws DeviceError it was refused, or cannot be copied; the bundles kept are as they were.
     */
    fun new(bundle: Bundle): Learner {
        val kept = folder.bundles.adopt(bundle)
        return try {
            accept(kept, runners)
        } catch (error: Throwable) {
            folder.tidyBundles()
            throw error
        }
    }

    /** A bundle of the store, which was accepted when it came; if it is damaged or lost there, [other] in its place. */
    fun kept(identity: ByteString, other: Bundle?): Learner {
        val bundle = try {
            folder.bundles.open(identity)
        } catch (error: BundleError) {
            return new(other ?: throw error)
        }
        return Learner.open(bundle, runners)
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
    val wrong = replayGoldens(learner.bundle, runner).filterNot { it.passed }
    wrong.maxByOrNull { it.difference / it.tolerance }?.let {
        throw BundleError(
            "goldens.pb: expected ${it.signature}.${it.output} within ${it.tolerance}, got ${it.difference} on " +
                "${runner.runtime} (${wrong.size} outputs differ); stay on the bundle before this one"
        )
    }
}

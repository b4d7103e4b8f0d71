package dccl.core

import com.google.protobuf.ByteString

/** What happens to a vector that belongs to another bundle. */
enum class OnBundleChange {
    /** It becomes U(vector, u) in the new basis; the optimiser starts afresh. */
    REBASE,

    /** It stays as it is; the length must be the same. */
    KEEP,

    /** The device begins again at U(0, u). */
    RESET;

    internal val text get() = name.lowercase()
}

/** How the vector in use came to its bundle: never silently. */
data class Opening(
    val how: String, // first, resumed, rebase, keep, reset or rollback
    val bundle: ByteString, // identity of the bundle in use
    val previous: ByteString = ByteString.EMPTY, // identity of the bundle before it
    val damaged: List<String> = emptyList(), // files of the state folder that were set aside
    val profileUnknown: List<String> = emptyList(), // given profile fields that the bundle lacks, or not their value
    val refused: String = "" // why the bundle that was asked for is not the one in use; empty if it is
)

/** A state to go on with, for a profile [P]. */
internal class Opened(val state: DeviceState, val profile: IntArray, val opening: Opening)

/**
 * The state to go on with in a bundle; nothing is stored.
 *
 * @param stored the state so far; null for a new device, which begins at U(0, u) (Eq. 6) with gate 0.
 * @param profile raw values; null takes those that are stored.
 * @param sequence number of the newest upload.
 * @throws StateError the stored vector's length is not this bundle's and the policy is not RESET.
 */
internal fun openState(
    learner: Learner,
    log: SampleLog,
    stored: DeviceState?,
    profile: Map<String, String>?,
    policy: OnBundleChange,
    sequence: Long
): Opened {
    val bundle = learner.bundle
    val raw: Map<String, Any> = profile ?: stored?.profile.orEmpty()
    // A profile may have fields that another bundle lacks.
    val (known, lacking) = raw.keys.partition { it in bundle.vocabulary.profileFields }
    val (indices, unknown) = bundle.vocabulary.profile(raw.filterKeys { it in known })
    val named = if (profile == null) unknown else unknown + lacking

    fun fresh(): DeviceState {
        val current = learner.engine.start(indices)
        return DeviceState(bundle.identity, current, current.vector, sequence = sequence)
    }

    val (how, state) = when {
        stored == null -> "first" to fresh()
        stored.bundle == bundle.identity -> "resumed" to stored.also { requireLength(it, bundle) }

        policy == OnBundleChange.RESET ->
            policy.text to fresh().copy(opening = policy.text, previousBundle = stored.bundle)
        else -> policy.text to carried(learner, log, stored, policy, indices)
    }
    val opening = Opening(how, bundle.identity, state.previousBundle, profileUnknown = named)
    return Opened(state.copy(profile = raw), indices, opening)
}

/**
 * The state in which a device left the bundle that it returns to: its vector, optimiser, gate and evidence, with the
 * profile of [now], which is the user's.
 */
internal fun rolledBack(
    learner: Learner,
    log: SampleLog,
    left: DeviceState,
    now: DeviceState,
    sequence: Long
): Opened {
    val state =
        left.copy(profile = now.profile, sequence = sequence, opening = "rollback", previousBundle = now.bundle)
    val opened = openState(learner, log, state, null, OnBundleChange.KEEP, sequence)
    return Opened(opened.state, opened.profile, opened.opening.copy(how = "rollback"))
}

private fun requireLength(state: DeviceState, bundle: Bundle) {
    val expected = bundle.manifest.metapatchLength
    if (state.anchor.size != expected) {
        throw StateError(
            "state: expected a vector of $expected floats, as its bundle ${bundle.identity.toByteArray().hex().take(12)} " +
                "has, got ${state.anchor.size}; open the device with OnBundleChange.RESET on another bundle"
        )
    }
}

/** A state of another bundle. It counts as untrained in this one, so it is not uploaded before it was trained. */
private fun carried(
    learner: Learner,
    log: SampleLog,
    stored: DeviceState,
    policy: OnBundleChange,
    profile: IntArray
): DeviceState {
    val expected = learner.bundle.manifest.metapatchLength
    if (expected != stored.anchor.size) {
        throw StateError(
            "on_bundle_change: expected a vector of $expected floats for \"${policy.text}\", got " +
                "${stored.anchor.size} from the bundle ${stored.bundle.toByteArray().hex().take(12)}; " +
                "use RESET, which begins again"
        )
    }
    val rebase = policy == OnBundleChange.REBASE
    val current = if (rebase) learner.engine.rebase(stored.current.vector, profile) else stored.current
    val (evidence, gate) = learner.weigh(log, current, profile)
    return stored.copy(
        bundle = learner.bundle.identity,
        current = current,
        anchor = if (rebase) current.vector else stored.anchor,
        gate = gate,
        samples = 0,
        evidence = evidence,
        opening = policy.text,
        previousBundle = stored.bundle
    )
}

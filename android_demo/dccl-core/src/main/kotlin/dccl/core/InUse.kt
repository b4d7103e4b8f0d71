package dccl.core

import java.io.Closeable
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/**
 * What a device has in use: a bundle with its model, the state in it, and the ways from one bundle to another. One caller
 * at a time changes it.
 *
 * @param lock held while what was computed is written and put into use, and no longer.
 * @param onChange called under the lock: what was derived from the bundle and state before is void.
 */
internal class InUse(
    private val folder: StateFolder,
    runners: SignatureRunners,
    private val lock: ReentrantLock,
    private val onChange: () -> Unit
) : Closeable {
    private val installer = Installer(folder, runners)

    @Volatile lateinit var learner: Learner
        private set

    @Volatile lateinit var state: DeviceState
        private set
    lateinit var profile: IntArray // [P]
        private set
    lateinit var opening: Opening
        private set

    /** Brings into use the given bundle, if it is news to the device, else, or if it is refused, the one it had. */
    fun begin(given: Bundle?, profile: Map<String, String>?, policy: OnBundleChange) {
        val stored = folder.state
        when {
            stored == null -> enter(installer.new(given ?: installer.newest(), null), profile, policy)

            given == null || given.identity in listOf(stored.bundle, folder.given) -> {
                val own = try {
                    installer.kept(stored.bundle, given)
                } catch (error: BundleError) { // another one that was given before is better than a damaged one
                    installer.new(given ?: throw error, null)
                }
                enter(own, profile, policy)
            }

            else -> if (!enterNews(stored, given, profile, policy)) return
        }
        if (given != null) noteGiven(given)
    }

    /** See [Personalizer.upgrade]. The model before it is left open, since a ranking may use it. */
    fun upgrade(bundle: Bundle, policy: OnBundleChange, retry: Boolean) =
        enter(installer.new(bundle, learner.engine.runner.runtime, retry), null, policy)

    /** See [Personalizer.rollback]. */
    fun rollBack() {
        val now = state
        val left = folder.bundles.left(now.previousBundle)
        val next = installer.kept(left.bundle, null)
        try {
            lock.withLock {
                val opened = rolledBack(next, folder.samples, left, now, folder.sequence)
                folder.refusals.add(now.bundle, Refusals.EVERYWHERE, "it was rolled back")
                try {
                    folder.save(opened.state)
                } catch (error: StorageError) {
                    folder.refusals.forgive(now.bundle) // it stays in use
                    throw error
                }
                use(next, opened)
            }
        } catch (error: Throwable) {
            next.close()
            throw error
        }
        folder.bundles.keep(listOf(left.bundle))
    }

    /** U(0, u) in the bundle in use, without a profile and a way back, for a user who is forgotten. */
    fun beginAgain(sequence: Long) {
        val (none, _) = learner.bundle.vocabulary.profile(emptyMap())
        val current = learner.engine.start(none)
        save(DeviceState(learner.bundle.identity, current, current.vector, sequence = sequence, opening = "reset"))
        profile = none
    }

    /** Makes a state of the bundle in use the stored one. Throws StorageError; then all stays as it was. */
    fun save(state: DeviceState) {
        folder.save(state)
        this.state = state
    }

    /** Takes over the stored state, which an upload has given a number. */
    fun reload() {
        folder.state?.let { state = it }
    }

    override fun close() {
        if (::learner.isInitialized) learner.close()
    }

    /** Tries a bundle that the device has not been given before; if that fails, the device goes on with its own. */
    private fun enterNews(
        stored: DeviceState,
        given: Bundle,
        profile: Map<String, String>?,
        policy: OnBundleChange
    ): Boolean {
        val own = try { // first: it says which runtime this is
            installer.kept(stored.bundle, null)
        } catch (_: DeviceError) { // what is new may be the way out
            null
        }
        try {
            enter(installer.new(given, own?.engine?.runner?.runtime), profile, policy)
        } catch (error: DeviceError) {
            enter(own ?: throw error, profile, policy, refused = error.message.orEmpty())
            return false
        }
        own?.close()
        return true
    }

    /** Remembers the bundle that the app gave, so that the next opening with it is no upgrade. */
    private fun noteGiven(bundle: Bundle) {
        try {
            if (bundle.identity != folder.given) folder.given = bundle.identity
        } catch (_: StorageError) { // on a full disk: what is in use stays in use
        }
    }

    /**
     * Brings the stored state to a bundle and puts that into use; on an error everything stays as it was. Rankings wait
     * for neither the vector nor its evidence, but for what is written alone.
     */
    private fun enter(next: Learner, profile: Map<String, String>?, policy: OnBundleChange, refused: String = "") {
        var changes = false
        try {
            val (before, sequence) = lock.withLock { folder.state to folder.sequence }
            val opened = openState(next, folder.samples, before, profile, policy, sequence)
            lock.withLock {
                val stored = folder.state // an upload may have raised its number meanwhile, nothing else can have changed
                val resumed = opened.opening.how == "resumed"
                changes = stored != null && !resumed
                val state = if (resumed) opened.state else opened.state.copy(sequence = folder.sequence)
                if (stored != null && changes) folder.bundles.leave(stored)
                if (!resumed || state.profile != stored?.profile) folder.save(state)
                val damaged = folder.damaged.toList()
                use(next, Opened(state, opened.profile, opened.opening.copy(damaged = damaged, refused = refused)))
            }
        } catch (error: Throwable) {
            next.close()
            folder.tidyBundles()
            throw error
        }
        folder.tidyBundles()
        if (!changes) return
        try {
            folder.refusals.forgive(next.bundle.identity)
        } catch (_: StorageError) { // on a full disk: it is in use all the same
        }
    }

    private fun use(next: Learner, opened: Opened) {
        learner = next
        state = opened.state
        profile = opened.profile
        opening = opened.opening
        onChange()
    }
}

package dccl.core

import java.io.Closeable
import java.io.File
import java.util.concurrent.atomic.AtomicLong
import java.util.concurrent.locks.ReentrantLock
import java.util.concurrent.locks.ReentrantReadWriteLock
import kotlin.concurrent.read
import kotlin.concurrent.withLock
import kotlin.concurrent.write

/** An item and its logit. */
data class Scored(val item: RawId, val logit: Float)

/**
 * One device: logs interactions, ranks, personalises itself and uploads its vector. Made by [Personalizer.open].
 *
 * Items are the app's own ids everywhere. All methods are safe under threads, and a ranking does not wait for a
 * personalisation or an upgrade; one process owns a state folder. What can be foreseen to fail is a [DeviceError].
 */
class Personalizer private constructor(
    private val folder: StateFolder,
    val deviceId: String,
    key: ByteArray?,
    noise: UploadNoise?,
    runners: SignatureRunners
) : Closeable {
    private val installer = Installer(folder, runners)
    private val sender = Sender(folder, deviceId, key, noise)
    private val lock = ReentrantLock() // state, log and caches
    private val training = ReentrantLock() // one personalisation or upgrade at a time
    private val sending = ReentrantLock() // one at a time, and never while holding the others
    private val inUse = ReentrantReadWriteLock() // read: a ranking uses the model; write: it may be closed
    private val unknownItems = AtomicLong()

    @Volatile private lateinit var learner: Learner

    @Volatile private lateinit var stateInUse: DeviceState
    private lateinit var profile: IntArray // [P]
    private var history: Pair<IntArray, IntArray>? = null // [T] model ids and labels
    private var met: MutableSet<RawId>? = null // what the log says, once it was asked
    private var unfinished: Unfinished? = null

    /** How the vector came to this bundle. */
    lateinit var opening: Opening
        private set

    // ---- Logging -----------------------------------------------------------------------------------

    /**
     * Adds one interaction; on return it is on the disk.
     *
     * The item enters the history with its label, and becomes a training sample whose history is what came before.
     *
     * @param label 1 liked or clicked, 0 not.
     * @param skipped items shown at the same time and not chosen: samples with label 0, outside the history.
     * @param timestamp seconds.
     * @throws InputError an id or the label is not what was asked for; nothing was added.
     * @throws StorageError the log cannot be written; nothing was added.
     */
    fun log(item: RawId, label: Int = 1, skipped: List<RawId> = emptyList(), timestamp: Long = now()) =
        logMany(listOf(Interaction(item, label, timestamp, skipped)))

    /** Adds interactions, oldest first, all or none of them, in one transaction; see [log]. */
    fun logMany(interactions: List<Interaction>) = append(interactions, train = true)

    /**
     * Adds interactions to the history alone: the past of a user before the device was, from which the cloud model may
     * have learned already.
     */
    fun remember(interactions: List<Interaction>) = append(interactions, train = false)

    private fun append(interactions: List<Interaction>, train: Boolean) {
        interactions.forEachIndexed { row, one ->
            bundle.vocabulary.check("item (row $row)", listOf(one.item))
            bundle.vocabulary.check("skipped (row $row)", one.skipped)
            if (one.label !in 0..1) throw InputError("label (row $row): expected 0 or 1, got ${one.label}")
            if (one.item in one.skipped) {
                throw InputError("skipped (row $row): expected other items than the one chosen, got ${one.item}")
            }
        }
        lock.withLock {
            val noLongerMet = folder.samples.append(interactions, train, bundle.manifest.historyLength)
            history = null
            met?.run {
                addAll(interactions.map { it.item })
                removeAll(noLongerMet.toSet())
            }
        }
        countUnknown(interactions.map { it.item })
    }

    // ---- Ranking -----------------------------------------------------------------------------------

    /**
     * Logits of N candidates in the given order.
     *
     * @param candidates any number; those that the bundle does not know share one id and are counted.
     * @param gate 0 is the cloud model, 1 the personal one; by default what the evidence decided.
     */
    fun scores(candidates: List<RawId>, gate: Double? = null): FloatArray {
        if (gate != null && !gate.isFinite()) throw InputError("gate: expected a finite number, got $gate")
        return inUse.read {
            val seen = lock.withLock { Seen(learner, stateInUse, profile, history()) }
            val vocabulary = seen.learner.bundle.vocabulary
            vocabulary.check("candidates", candidates)
            countUnknown(candidates)
            val (items, labels) = seen.history
            val encoded = vocabulary.encode(candidates)
            val applied = (gate ?: seen.state.gate).toFloat()
            seen.learner.engine.logits(seen.state.current, items, labels, seen.profile, encoded, applied)
        }
    }

    /**
     * The candidates, best first; equal scores keep the given order.
     *
     * @param k how many to return; all by default.
     * @param excludeHistory leaves out what the user has met, as far back as the log's limits say.
     */
    fun rank(
        candidates: List<RawId>,
        k: Int? = null,
        gate: Double? = null,
        excludeHistory: Boolean = false
    ): List<Scored> {
        if (k != null && k < 1) throw InputError("k: expected a whole number of at least 1, got $k")
        val ids = if (excludeHistory) lock.withLock { candidates.filterNot { it in met() } } else candidates
        val scored = ids.zip(scores(ids, gate).asList(), ::Scored).sortedByDescending { it.logit }
        return if (k == null) scored else scored.take(k)
    }

    private class Seen(
        val learner: Learner,
        val state: DeviceState,
        val profile: IntArray,
        val history: Pair<IntArray, IntArray>
    )

    private fun history(): Pair<IntArray, IntArray> = history ?: run {
        val length = bundle.manifest.historyLength
        encodeHistory(folder.samples.newest(length), bundle.vocabulary, length).also { history = it }
    }

    private fun met(): Set<RawId> = met ?: folder.samples.met().also { met = it }

    // ---- Learning ----------------------------------------------------------------------------------

    /**
     * Trains the vector on all kept samples, goes on from the current one, and sets the gate by evidence. Rankings in
     * other threads go on with the old vector until the new one is stored.
     *
     * A training that was stopped goes on where it stopped, on the rows that it began with, at the next call with the
     * same settings; after a restart, or on another vector or bundle, a new one begins.
     *
     * @param shouldStop asked before every step: a [timeBudget], or whether the system wants the job to end.
     * @param onStep called with epoch, step and loss after every step.
     * @throws StorageError the new state cannot be written; the device keeps the old one.
     */
    fun personalize(
        config: PersonalizeConfig = PersonalizeConfig(),
        shouldStop: () -> Boolean = { false },
        onStep: (epoch: Int, step: Int, loss: Float) -> Unit = { _, _, _ -> }
    ): Report = exclusively("personalize") {
        val (state, profile) = lock.withLock { stateInUse to profile }
        val begun = unfinished?.takeIf { it.goesOn(state, config) }?.training
        val training = begun ?: learner.training(folder.samples, state, profile, config)
        unfinished = null
        val outcome = training.run(shouldStop, onStep)
        val report = outcome.report
        if (report.steps == 0) { // nothing was learned: what is known of the vector in use stays
            if (report.stopped == "should_stop") unfinished = Unfinished(training, state.current)
            return report.copy(gate = state.gate)
        }
        lock.withLock {
            val now = stateInUse // its sequence number may have grown meanwhile
            val samples = if (report.bestEpoch != null) report.samples.toLong() else now.samples
            save(
                now.copy(current = outcome.state, gate = report.gate, evidence = outcome.evidence, samples = samples)
            )
        }
        if (report.stopped == "should_stop") unfinished = Unfinished(training, outcome.state)
        report
    }

    /** A training that was stopped, and the vector that it left in use. */
    private class Unfinished(val training: Personalization, val left: VectorState) {
        fun goesOn(state: DeviceState, config: PersonalizeConfig) = state.current === left && training.config == config
    }

    /**
     * Goes over to another bundle, for good, once its certificate is checked and this phone's runtime has replayed its
     * goldens; the vector follows by the policy and the log stays. Its files are copied into the state folder, and the
     * bundle before it is kept to roll back to.
     *
     * @param retry tries it even if this runtime refused it before, or it was rolled back from.
     * @throws DeviceError the device goes on with the bundle it had.
     */
    fun upgrade(
        bundle: Bundle,
        onBundleChange: OnBundleChange = OnBundleChange.REBASE,
        retry: Boolean = false
    ): Opening = exclusively("upgrade") {
        val before = learner
        enter(installer.new(bundle, runtime, retry), null, onBundleChange)
        inUse.write { before.close() }
        opening
    }

    /**
     * Returns to the bundle before this one, with the vector, optimiser, gate and evidence that were left there. The log
     * stays. The bundle that is left is not taken again by [open], or by [upgrade] without `retry`.
     *
     * @throws StateError there is none to return to.
     * @throws BundleError it is damaged; the device goes on with the bundle it has.
     */
    fun rollback(): Opening = exclusively("rollback") {
        val (before, now) = learner to stateInUse
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
        inUse.write { before.close() }
        opening
    }

    /** One at a time, and not from within a training's callbacks: they would change what it stands on. */
    private inline fun <R> exclusively(name: String, work: () -> R): R {
        if (training.isHeldByCurrentThread) {
            throw StateError("$name: called while personalize() runs on this thread; call it once that has returned")
        }
        return training.withLock(work)
    }

    // ---- Uploading ---------------------------------------------------------------------------------

    /**
     * Queues an upload of the vector, on the disk until the cloud's receipt; what still waits from this bundle gives
     * way. While vector and evidence stay as they are it is the same message; a new one takes the next sequence number.
     *
     * @return the signed body, ready to send; sending it again is safe.
     * @throws StateError there is no key, or the vector has not been trained in this bundle.
     */
    fun upload(): ByteArray = lock.withLock {
        try {
            sender.queue(stateInUse)
        } finally {
            folder.state?.let { stateInUse = it } // its number counts, whatever failed after it
        }
    }

    /**
     * Sends what waits, in the order of its numbers, up to the first that brings no receipt of its own. On a device
     * that was opened with noise, what waits without any is superseded and never sent.
     *
     * @return true if nothing waits any more; false: try again later.
     */
    fun send(transport: Transport): Boolean = sending.withLock {
        // Looked up anew each time: meanwhile the user may be forgotten, or a newer upload be made.
        generateSequence { lock.withLock { sender.next() } }.all { next ->
            val answer = deliver(sender.body(next.content), next.sequence, transport)
            lock.withLock { folder.outbox.answered(next.sequence, answer) }
            answer.status != "queued"
        }
    }

    /** The newest uploads and what became of them, oldest first. */
    val uploads: List<Queued> get() = lock.withLock { folder.outbox.all() }

    /** Whether [upload] would tell the cloud anything that the newest upload has not; never without a key. */
    val uploadIsDue: Boolean get() = lock.withLock { sender.isDue(stateInUse) }

    // ---- What is known -----------------------------------------------------------------------------

    val bundle: Bundle get() = learner.bundle

    /** All that is remembered besides the log. */
    val state: DeviceState get() = stateInUse

    /** The metapatch [K]; a copy. */
    val vector: FloatArray get() = stateInUse.current.vector.copyOf()

    /** What rankings use: 1 the personal model, 0 the cloud's. */
    val gate: Double get() = stateInUse.gate

    /** Name and version of the TFLite runtime in use. */
    val runtime: String get() = learner.engine.runner.runtime

    /** Interactions in the history. */
    val historySize: Long get() = lock.withLock { folder.samples.counts().first }

    /** Training samples in the log. */
    val sampleCount: Long get() = lock.withLock { folder.samples.counts().second }

    /** Items logged or ranked so far, in this session, that the bundle does not know. */
    val unknownItemCount: Long get() = unknownItems.get()

    /**
     * Forgets the user: vector, log, profile, all uploads, those that wait among them, and the bundle before this one.
     * The device's id, key and upload number stay. A profile may be given again when the device is next opened.
     *
     * @throws StorageError not all could be erased or begun again; what could be is, so call it again.
     */
    fun forget() = exclusively("forget") {
        lock.withLock {
            val sequence = folder.sequence // a device that was closed says so here, before a file is touched
            val (none, _) = bundle.vocabulary.profile(emptyMap())
            val current = learner.engine.start(none)
            try {
                folder.forgetUser()
                save(DeviceState(bundle.identity, current, current.vector, sequence = sequence, opening = "reset"))
                profile = none
            } catch (error: StorageError) {
                throw StorageError("forget: not all could be erased; call it again (${error.message})", error)
            } finally {
                dropCaches()
            }
        }
    }

    override fun close() = exclusively("close") {
        lock.withLock {
            folder.close()
            dropCaches()
        }
        inUse.write { if (::learner.isInitialized) learner.close() }
    }

    private fun dropCaches() {
        history = null
        met = null
        unfinished = null
    }

    private fun countUnknown(items: List<RawId>) {
        val vocabulary = bundle.vocabulary
        unknownItems.addAndGet(items.count { vocabulary.encode(it) == vocabulary.outOfVocabulary }.toLong())
    }

    /** Brings into use the given bundle, if it is news to the device, else, or if it is refused, the one it had. */
    private fun begin(given: Bundle?, profile: Map<String, String>?, policy: OnBundleChange) {
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
        stateInUse = opened.state
        profile = opened.profile
        opening = opened.opening
        history = null
        unfinished = null
    }

    private fun save(state: DeviceState) {
        folder.save(state)
        stateInUse = state
    }

    companion object {
        /**
         * Opens a device, or begins a new one in an empty folder with the vector U(0, u) (Eq. 6).
         *
         * A device goes on with the bundle that it has, of which it keeps a copy. One that the app gives for the first
         * time is an upgrade (see [upgrade]), so that an app may always give the one that it ships, whatever the device
         * has gone over to since. If it is refused, the device goes on with the one it had, and [opening] says so.
         *
         * @param stateDir the device's own folder; made if absent.
         * @param bundle where a new device begins; may be left out afterwards.
         * @param runners loads the model into the app's TFLite runtime.
         * @param databases opens the log's file in the app's SQLite.
         * @param deviceId opaque id; by default the stored one, or a new random one.
         * @param key 32 bytes from the cloud's registration; stored, so given once. Needed by [upload] alone.
         * @param profile value of each profile field, such as {"age": "25-34"}; stored, so given once.
         * @param noise what is added to every vector that is uploaded while the device is open; not stored.
         * @param onBundleChange what happens to a vector of another bundle; [opening] says what was done.
         * @throws DeviceError its subclasses say what was wrong; what was stored is as it was.
         */
        fun open(
            stateDir: File,
            bundle: Bundle? = null,
            runners: SignatureRunners,
            databases: SqlDatabases,
            deviceId: String? = null,
            key: ByteArray? = null,
            profile: Map<String, String>? = null,
            onBundleChange: OnBundleChange = OnBundleChange.REBASE,
            onDamage: OnDamage = OnDamage.ERROR,
            limits: LogLimits = LogLimits(),
            noise: UploadNoise? = null
        ): Personalizer {
            if (profile != null && !File(stateDir, StateFolder.STATE).exists()) {
                bundle?.vocabulary?.profile(profile) // refuses a wrong one before anything is made
            }
            val folder = StateFolder(stateDir, databases, onDamage, limits)
            var device: Personalizer? = null
            try {
                device = Personalizer(folder, folder.identify(deviceId), folder.key(key), noise, runners)
                device.begin(bundle, profile, onBundleChange)
                return device
            } catch (error: Throwable) {
                device?.close() ?: folder.close()
                throw error
            }
        }

        private fun now(): Long = System.currentTimeMillis() / 1000
    }
}

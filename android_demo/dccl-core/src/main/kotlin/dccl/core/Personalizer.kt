package dccl.core

import com.google.protobuf.ByteString
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
    private val sender = Sender(folder, deviceId, key, noise)
    private val lock = ReentrantLock() // state, log and caches
    private val training = ReentrantLock() // one personalisation or upgrade at a time
    private val sending = ReentrantLock() // one at a time, and never while holding the others
    private val rankings = ReentrantReadWriteLock() // read: a ranking uses the model; write: it may be closed
    private val unknownItems = AtomicLong()
    private var history: Pair<IntArray, IntArray>? = null // [T] model ids and labels
    private var met: MutableSet<RawId>? = null // what the log says, once it was asked
    private var unfinished: Unfinished? = null
    private val inUse = InUse(folder, runners, lock) {
        history = null
        unfinished = null
    }
    private val learner get() = inUse.learner

    /** How the vector came to this bundle. */
    val opening: Opening get() = inUse.opening

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
        return rankings.read {
            val seen = lock.withLock { Seen(learner, state, inUse.profile, history()) }
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
        val (state, profile) = lock.withLock { inUse.state to inUse.profile }
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
            val now = inUse.state // its sequence number may have grown meanwhile
            val samples = if (report.bestEpoch != null) report.samples.toLong() else now.samples
            inUse.save(
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
    ): Opening = changing("upgrade") { inUse.upgrade(bundle, onBundleChange, retry) }

    /**
     * Returns to the bundle before this one, with the vector, optimiser, gate and evidence that were left there. The log
     * stays. The bundle that is left is not taken again by [open], or by [upgrade] without `retry`.
     *
     * @throws StateError there is none to return to.
     * @throws BundleError it is damaged; the device goes on with the bundle it has.
     */
    fun rollback(): Opening = changing("rollback") { inUse.rollBack() }

    /** A change of the model: the one before is closed once no ranking uses it. */
    private inline fun changing(name: String, change: () -> Unit): Opening = exclusively(name) {
        val before = learner
        change()
        rankings.write { before.close() }
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
            sender.queue(state)
        } finally {
            inUse.reload() // the number counts, whatever failed after it
        }
    }

    /**
     * Sends what waits, in the order of its numbers, up to the first that brings no receipt of its own. On a device
     * that was opened with noise, what waits without any is superseded and never sent. While a pause lasts that the
     * server has asked for (a day at most, also after a restart), or a change of key has no answer, nothing is sent.
     *
     * @param transport a [Collector], or another way to one.
     * @return true if nothing waits any more; false: try again later.
     */
    fun send(transport: Transport): Boolean = sending.withLock {
        // Looked up anew each time: meanwhile the user may be forgotten, or a newer upload be made.
        generateSequence { lock.withLock { sender.next() } }.all { next ->
            if (lock.withLock { sender.isHeld }) return@all false
            val attempt = deliver(sender.body(next.content), next.sequence, transport)
            lock.withLock { folder.outbox.attempted(next.sequence, attempt) }
            attempt.status != "queued"
        }
    }

    /** The newest uploads and what became of them, oldest first. */
    val uploads: List<Queued> get() = lock.withLock { folder.outbox.all() }

    /** Whether [upload] would tell the cloud anything that the newest upload has not; never without a key. */
    val uploadIsDue: Boolean get() = lock.withLock { sender.isDue(state) }

    // ---- What is known -----------------------------------------------------------------------------

    val bundle: Bundle get() = learner.bundle

    /** The bundles that [upgrade] takes with `retry` alone, by identity, and why; see [fetchBundle]. */
    val refused: Map<ByteString, String> get() = lock.withLock { folder.refusals.on(runtime) }

    /** All that is remembered besides the log. */
    val state: DeviceState get() = inUse.state

    /** The metapatch [K]; a copy. */
    val vector: FloatArray get() = state.current.vector.copyOf()

    /** What rankings use: 1 the personal model, 0 the cloud's. */
    val gate: Double get() = state.gate

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
            try {
                folder.forgetUser()
                inUse.beginAgain(sequence)
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
        rankings.write { inUse.close() }
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
         * @param key 32 bytes from the cloud's registration; by default the stored one, such as [register] has left.
         *   Needed by [upload] alone.
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
                device = Personalizer(folder, folder.identity.identify(deviceId), folder.identity.key(key), noise, runners)
                device.inUse.begin(bundle, profile, onBundleChange)
                return device
            } catch (error: Throwable) {
                device?.close() ?: folder.close()
                throw error
            }
        }

        private fun now(): Long = System.currentTimeMillis() / 1000
    }
}

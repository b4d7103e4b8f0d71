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
 * personalisation; one process owns a state folder. All failures are [DeviceError]s that leave what was stored as it was.
 */
class Personalizer private constructor(
    private val folder: StateFolder,
    val deviceId: String,
    private val key: ByteArray?,
    runners: SignatureRunners
) : Closeable {
    private val installer = Installer(folder, runners)
    private val lock = ReentrantLock() // state, log and caches
    private val training = ReentrantLock() // one personalisation or upgrade at a time
    private val sending = ReentrantLock() // one at a time, and never while holding the others
    private val inUse = ReentrantReadWriteLock() // read: a ranking uses the model; write: it may be closed
    private val unknownItems = AtomicLong()

    @Volatile private lateinit var learner: Learner

    @Volatile private lateinit var stateInUse: DeviceState
    private lateinit var profile: IntArray // [P]
    private var history: Pair<IntArray, IntArray>? = null // [T] model ids and labels
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
            folder.samples.append(interactions, train, bundle.manifest.historyLength)
            history = null
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
        val met = if (excludeHistory) lock.withLock { folder.samples.met() } else emptySet()
        val ids = candidates.filterNot { it in met }
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
    ): Report = training.withLock {
        val (state, profile) = lock.withLock { stateInUse to profile }
        val begun = unfinished?.takeIf { it.goesOn(state, config) }?.training
        val training = begun ?: learner.training(folder.samples, state, profile, config)
        unfinished = null
        val outcome = training.run(shouldStop, onStep)
        val report = outcome.report
        if (report.stopped == "no samples") return report.copy(gate = state.gate)
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
     * goldens; the vector follows by the policy and the log stays. Its files are copied into the state folder.
     *
     * @throws DeviceError the device goes on with the bundle it had.
     */
    fun upgrade(bundle: Bundle, onBundleChange: OnBundleChange = OnBundleChange.REBASE): Opening = training.withLock {
        val next = installer.new(bundle)
        val before = learner
        lock.withLock { enter(next, null, onBundleChange) }
        inUse.write { before.close() }
        opening
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
        val key = requireKey()
        if (stateInUse.samples == 0L) {
            throw StateError("upload: the vector has not been trained in this bundle; call personalize() first")
        }
        val message = uploadMessage(stateInUse, deviceId)
        val digest = uploadDigest(message, key)
        uploads.lastOrNull()?.takeIf { it.digest == digest }?.let { return sign(it.content, key) }
        val sequence = folder.sequence + 1
        save(stateInUse.copy(sequence = sequence)) // first: no number is used twice
        folder.saveSequence(sequence)
        val content = message.toBuilder().setSequence(sequence).build().toByteString()
        folder.outbox.add(sequence, stateInUse.bundle, content, digest)
        sign(content, key)
    }

    /**
     * Sends what waits, in the order of its numbers, up to the first that brings no receipt of its own.
     *
     * @return true if nothing waits any more; false: try again later.
     */
    fun send(transport: Transport): Boolean = sending.withLock {
        // Looked up anew each time: meanwhile the user may be forgotten, or a newer upload be made.
        generateSequence { lock.withLock { folder.outbox.next() } }.all { next ->
            val answer = deliver(sign(next.content, requireKey()), next.sequence, transport)
            lock.withLock { folder.outbox.answered(next.sequence, answer) }
            answer.status != "queued"
        }
    }

    /** The newest uploads and what became of them, oldest first. */
    val uploads: List<Queued> get() = lock.withLock { folder.outbox.all() }

    /** Whether [upload] would tell the cloud anything that the newest upload has not; never without a key. */
    val uploadIsDue: Boolean
        get() = lock.withLock {
            key != null && stateInUse.samples > 0 &&
                uploads.lastOrNull()?.digest != uploadDigest(uploadMessage(stateInUse, deviceId), key)
        }

    private fun requireKey(): ByteArray =
        key ?: throw StateError("upload: this device has no key; open it once with the key of the cloud's registration")

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
     */
    fun forget() = training.withLock {
        lock.withLock {
            val sequence = folder.sequence
            val (none, _) = bundle.vocabulary.profile(emptyMap())
            val current = learner.engine.start(none)
            save(DeviceState(bundle.identity, current, current.vector, sequence = sequence, opening = "reset"))
            profile = none
            history = null
            unfinished = null
            folder.forgetUser()
        }
    }

    override fun close() = training.withLock {
        lock.withLock {
            folder.close()
            history = null
            unfinished = null
        }
        inUse.write { if (::learner.isInitialized) learner.close() }
    }

    private fun countUnknown(items: List<RawId>) {
        val vocabulary = bundle.vocabulary
        unknownItems.addAndGet(items.count { vocabulary.encode(it) == vocabulary.outOfVocabulary }.toLong())
    }

    /** Brings into use the given bundle, if it is news to the device, else, or if it is refused, the one it had. */
    private fun begin(given: Bundle?, profile: Map<String, String>?, policy: OnBundleChange) {
        val stored = folder.state
        when {
            stored == null -> {
                val first = given ?: throw InputError("bundle: expected one for a new device, got none")
                enter(installer.new(first), profile, policy)
            }

            given == null || given.identity in listOf(stored.bundle, folder.given) ->
                enter(installer.kept(stored.bundle, given), profile, policy)
            else -> try {
                enter(installer.new(given), profile, policy)
            } catch (error: DeviceError) {
                if (stored.bundle !in folder.bundles) throw error
                enter(installer.kept(stored.bundle, null), profile, policy, refused = error.message.orEmpty())
                if (error is StorageError) return // no fault of the bundle's: it is tried again next time
            }
        }
        if (given != null && given.identity != folder.given) folder.given = given.identity
    }

    /** Brings the stored state to a bundle and puts that into use; on an error everything stays as it was. */
    private fun enter(next: Learner, profile: Map<String, String>?, policy: OnBundleChange, refused: String = "") {
        val stored = folder.state
        try {
            val opened = openState(next, folder.samples, stored, profile, policy, folder.sequence)
            val resumed = opened.opening.how == "resumed"
            if (stored != null && !resumed) folder.bundles.leave(stored)
            if (!resumed || opened.state.profile != stored?.profile) folder.save(opened.state)
            learner = next
            unfinished = null
            stateInUse = opened.state
            this.profile = opened.profile
            history = null
            opening = opened.opening.copy(damaged = folder.damaged.toList(), refused = refused)
        } catch (error: Throwable) {
            next.close()
            throw error
        }
        folder.tidyBundles()
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
            limits: LogLimits = LogLimits()
        ): Personalizer {
            if (profile != null && !File(stateDir, StateFolder.STATE).exists()) {
                bundle?.vocabulary?.profile(profile) // refuses a wrong one before anything is made
            }
            val folder = StateFolder(stateDir, databases, onDamage, limits)
            var device: Personalizer? = null
            try {
                device = Personalizer(folder, folder.identify(deviceId), folder.key(key), runners)
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

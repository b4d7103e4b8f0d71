package dccl.core

import com.google.protobuf.ByteString
import java.io.Closeable
import java.io.File
import java.io.IOException
import java.security.SecureRandom

/** What to do with a damaged file: refuse, or set it aside (its name gets ".damaged") and begin afresh. */
enum class OnDamage { ERROR, RESET }

/**
 * A device's state folder: who the device is, its key, its state, its log, and a lock so that one process owns it.
 *
 *     device.id      opaque id, text
 *     device.key     32 bytes that the cloud gave at registration, readable by the owner alone
 *     state.bin      the vector and what belongs to it (DeviceState.kt)
 *     samples.sqlite the log and the uploads that wait (Schema.kt)
 *     bundles/       copies of the bundle in use and the one before it (BundleStore.kt)
 *     bundle.given   identity of the bundle that the app gave last
 *     lock           held while the folder is open (FolderLock.kt)
 *
 * @throws StateError another process has it open, or a file is damaged.
 * @throws StorageError it cannot be made or written.
 */
internal class StateFolder(
    private val path: File,
    databases: SqlDatabases,
    onDamage: OnDamage,
    limits: LogLimits
) : Closeable {
    val damaged = ArrayList<String>() // files that were set aside
    private val lock: FolderLock
    private val database: SqlDatabase
    val samples: SampleLog
    val outbox: Outbox
    val refusals: Refusals
    val bundles = BundleStore(File(path, "bundles"))
    var state: DeviceState? = null
        private set

    init {
        val isNew = !path.isDirectory
        if (isNew && !path.mkdirs()) {
            throw StorageError("$path: cannot be used as a state folder; use one that the app may write to")
        }
        if (isNew) ownersAlone(path)
        lock = FolderLock(path)
        try {
            state = orSetAside(onDamage, listOf(STATE)) { load() }
            database = orSetAside(onDamage, LOG.map { "samples.sqlite$it" }) { openDatabase(databases) }
                ?: openDatabase(databases)
            samples = SampleLog(database, limits)
            outbox = Outbox(database)
            refusals = Refusals(database)
        } catch (error: Throwable) {
            lock.close()
            throw error
        }
    }

    /** Makes a state the stored one. Throws StorageError; the previous state is then intact. */
    fun save(state: DeviceState) {
        replaceFile(File(path, STATE), state.toBytes())
        this.state = state
    }

    /** Number of the newest upload, from the state or from the log, whichever survived. */
    val sequence: Long get() = maxOf(state?.sequence ?: 0, samples.counter(SEQUENCE))

    /** A second copy of the upload's number, so that a lost state does not make the cloud refuse what follows. */
    fun saveSequence(sequence: Long) = samples.raiseCounter(SEQUENCE, sequence)

    /** The stored id, else the given one, else a new random one; then stored. */
    fun identify(deviceId: String?): String {
        checkId(deviceId)
        val file = File(path, "device.id")
        val content = readFile(file)
        if (content == null || content.isEmpty()) {
            val chosen = deviceId ?: ByteArray(16).also { SecureRandom().nextBytes(it) }.hex()
            return chosen.also { replaceFile(file, it.toByteArray()) }
        }
        val stored = readId(content)
            ?: throw StateError("$file: damaged; write the device's id into it, or remove it for a new one")
        if (deviceId != null && deviceId != stored) {
            throw StateError(
                "device_id: expected \"$stored\", to which $path belongs, got \"$deviceId\"; use another state folder"
            )
        }
        return stored
    }

    /** The given key, which is then stored, else the stored one, else null. */
    fun key(key: ByteArray?): ByteArray? {
        val file = File(path, "device.key")
        val stored = readFile(file)
        if (key == null) {
            if (stored != null && stored.size != KEY_BYTES) {
                throw StateError("$file: damaged (${stored.size} bytes); open the device once with a key")
            }
            return stored
        }
        if (key.size != KEY_BYTES) {
            throw InputError("key: expected $KEY_BYTES bytes from the cloud's registration, got ${key.size} bytes")
        }
        if (!key.contentEquals(stored)) replaceFile(file, key)
        return key
    }

    /** Identity of the bundle that the app gave last; empty if there was none. */
    var given: ByteString
        get() = ByteString.copyFrom(readFile(File(path, GIVEN)) ?: ByteArray(0))
        set(identity) = replaceFile(File(path, GIVEN), identity.toByteArray())

    /** Removes all bundles but the one in use and the one before it. */
    fun tidyBundles() = bundles.keep(listOfNotNull(state?.bundle, state?.previousBundle))

    /**
     * Erases the bundle before, the states in which bundles were left, the files that were set aside, what Python keeps
     * beside them, the log and the uploads; counters stay, so that upload numbers go on.
     *
     * Files first, which a full disk lets go and which make room for the rest.
     *
     * @throws StorageError something could not be erased.
     */
    fun forgetUser() {
        bundles.keep(listOfNotNull(state?.bundle))
        path.listFiles { file -> file.name == CHECKPOINT || file.extension in listOf("damaged", "new") }.orEmpty()
            .forEach(::erase)
        bundles.forgetStates()
        database.transaction {
            for (table in listOf("samples", "history", "met", "events", "uploads")) {
                database.execute("DELETE FROM $table")
            }
        }
        database.query("PRAGMA wal_checkpoint(TRUNCATE)")
        try { // also of what was left in free places before deleting meant overwriting
            database.execute("VACUUM")
            database.query("PRAGMA wal_checkpoint(TRUNCATE)")
        } catch (_: StorageError) { // it takes room, and the rows are gone without it
        }
    }

    override fun close() {
        if (!lock.isOpen) return
        try {
            database.close()
        } finally {
            lock.close()
        }
    }

    private fun load(): DeviceState? = readFile(File(path, STATE))?.let { content ->
        try {
            DeviceState.fromBytes(content)
        } catch (error: StateError) {
            throw StateError(
                "${File(path, STATE)}: ${error.message}; open the device with OnDamage.RESET to begin afresh"
            )
        }
    }

    private fun openDatabase(databases: SqlDatabases): SqlDatabase {
        val file = File(path, "samples.sqlite")
        try {
            if (file.createNewFile()) ownersAlone(file) // and SQLite's files beside it likewise
        } catch (error: IOException) {
            throw StorageError("$file: cannot be written (${error.message}); free some space, try again", error)
        }
        val database = databases.open(file.path)
        return try {
            prepareTables(database)
            requireWholeLog(database)
            database
        } catch (error: Throwable) {
            database.close()
            throw error
        }
    }

    private fun <R> orSetAside(onDamage: OnDamage, names: List<String>, open: () -> R): R? = try {
        open()
    } catch (error: StateError) {
        if (onDamage == OnDamage.ERROR) throw error
        for (name in names.filter { File(path, it).exists() }) {
            if (!File(path, name).renameTo(File(path, "$name.damaged"))) {
                throw StorageError("${File(path, name)}: cannot be set aside; use a folder that the app may write to")
            }
            damaged += name
        }
        null
    }

    companion object {
        const val STATE = "state.bin"
        private const val GIVEN = "bundle.given"
        private const val CHECKPOINT = "training.bin" // Python's, of an interrupted training
        private const val SEQUENCE = "upload_sequence"
        private val LOG = listOf("", "-wal", "-shm", "-journal")
    }
}

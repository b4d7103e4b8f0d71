package dccl.core

import com.google.protobuf.ByteString
import java.io.Closeable
import java.io.File
import java.io.IOException

/** What to do with a damaged file: refuse, or set it aside (its name gets ".damaged") and begin afresh. */
enum class OnDamage { ERROR, RESET }

/**
 * A device's state folder: who the device is, its key, its state, its log, and a lock so that one process owns it.
 *
 *     device.*       who the device is: its id and key (Identity.kt)
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
    val identity = Identity(path)
    var state: DeviceState? = null
        private set

    init {
        makeStateDir(path)
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
    val sequence: Long get() = maxOf(state?.sequence ?: 0, database.counter(SEQUENCE))

    /** A second copy of the upload's number, so that a lost state does not make the cloud refuse what follows. */
    fun saveSequence(sequence: Long) = database.raiseCounter(SEQUENCE, sequence)

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

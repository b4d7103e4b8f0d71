package dccl.core

import com.google.protobuf.ByteString
import java.io.Closeable
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.channels.FileLock
import java.nio.channels.OverlappingFileLockException
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
 *     lock           held while the folder is open
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
    private val lock: FileLock
    private val database: SqlDatabase
    val samples: SampleLog
    val outbox: Outbox
    val bundles = BundleStore(File(path, "bundles"))
    var state: DeviceState? = null
        private set

    init {
        if (!path.isDirectory && !path.mkdirs()) {
            throw StorageError("$path: cannot be used as a state folder; use one that the app may write to")
        }
        lock = lock()
        try {
            state = orSetAside(onDamage, listOf(STATE)) { load() }
            database = orSetAside(onDamage, LOG.map { "samples.sqlite$it" }) { openDatabase(databases) }
                ?: openDatabase(databases)
            samples = SampleLog(database, limits)
            outbox = Outbox(database)
        } catch (error: Throwable) {
            lock.channel().close()
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
        if (deviceId != null && (deviceId.isBlank() || deviceId.length > 128 || deviceId.any(Char::isISOControl))) {
            throw InputError("device_id: expected 1 to 128 printable characters, got \"$deviceId\"")
        }
        val file = File(path, "device.id")
        val stored = readFile(file)?.let { String(it).trim() }.orEmpty()
        if (stored.isEmpty()) {
            val chosen = deviceId ?: ByteArray(16).also { SecureRandom().nextBytes(it) }.hex()
            return chosen.also { replaceFile(file, it.toByteArray()) }
        }
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
     * Erases the log, the uploads, the states in which other bundles were left and the files that were set aside, and
     * what Python keeps beside them; counters stay, so that upload numbers go on.
     */
    fun forgetUser() {
        database.transaction {
            for (table in listOf("samples", "history", "met", "events", "uploads")) {
                database.execute("DELETE FROM $table")
            }
        }
        path.listFiles { file -> file.name == CHECKPOINT || file.extension in listOf("damaged", "new") }.orEmpty()
            .forEach { it.deleteRecursively() }
        bundles.forgetStates()
        tidyBundles()
        // What was deleted stays in the files until its place is used again.
        database.execute("VACUUM")
        database.query("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    override fun close() {
        database.close()
        lock.channel().close()
    }

    private fun lock(): FileLock = try {
        val channel = RandomAccessFile(File(path, "lock"), "rw").channel
        val held = try {
            channel.tryLock()
        } catch (_: OverlappingFileLockException) { // by another object of this process
            null
        }
        held ?: throw StateError("$path: another device object or process has this state folder open; close it first")
            .also { channel.close() }
    } catch (error: IOException) {
        throw StorageError("$path: cannot be used as a state folder (${error.message}); use another one", error)
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
        val database = databases.open(File(path, "samples.sqlite").path)
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

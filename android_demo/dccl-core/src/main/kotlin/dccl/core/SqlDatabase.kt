package dccl.core

import java.io.Closeable

/**
 * A SQLite file: what an app binds to its own SQLite (`dccl-android` binds the framework's, `dccl-jvm` JDBC's). It
 * keeps a write-ahead log with full synchronisation, so that what a transaction wrote survives a kill and a power cut.
 *
 * It is safe under threads: what another thread does waits for a transaction to end. Values are Long, String, ByteArray
 * or null. All methods throw [StorageError] if the file cannot be read or written, as on a full disk, and [StateError] if
 * it is closed or anything else is wrong: the statements are right for a file as this library wrote it.
 * SQL stays within SQLite 3.9, that of Android 7.
 */
interface SqlDatabase : Closeable {
    fun execute(sql: String, vararg values: Any?)

    /** Runs an INSERT and gives the new row's id. */
    fun insert(sql: String, vararg values: Any?): Long

    fun query(sql: String, vararg values: Any?): List<List<Any?>>

    /** All or nothing; on return what was written is on the disk. */
    fun <R> transaction(block: () -> R): R
}

/** Opens or creates the file at a path. */
fun interface SqlDatabases {
    fun open(path: String): SqlDatabase
}

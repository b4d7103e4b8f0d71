package dccl.jvm

import dccl.core.SqlDatabase
import dccl.core.StateError
import dccl.core.StorageError
import java.sql.Connection
import java.sql.DriverManager
import java.sql.PreparedStatement
import java.sql.SQLException
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock
import org.sqlite.SQLiteErrorCode.SQLITE_BUSY
import org.sqlite.SQLiteErrorCode.SQLITE_CANTOPEN
import org.sqlite.SQLiteErrorCode.SQLITE_FULL
import org.sqlite.SQLiteErrorCode.SQLITE_IOERR
import org.sqlite.SQLiteErrorCode.SQLITE_LOCKED
import org.sqlite.SQLiteErrorCode.SQLITE_NOMEM
import org.sqlite.SQLiteErrorCode.SQLITE_PERM
import org.sqlite.SQLiteErrorCode.SQLITE_READONLY

/** A SQLite file through JDBC (org.xerial:sqlite-jdbc). */
class JdbcDatabase(private val path: String) : SqlDatabase {
    private val lock = ReentrantLock() // a transaction belongs to the connection, not to a thread
    private var closed = false
    private val connection: Connection = guarded { DriverManager.getConnection("jdbc:sqlite:$path") }

    init {
        try {
            query("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = FULL")
            query("PRAGMA secure_delete = ON") // what is deleted is overwritten
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    override fun execute(sql: String, vararg values: Any?) = prepared(sql, values) { it.execute() }.let {}

    override fun insert(sql: String, vararg values: Any?): Long {
        execute(sql, *values)
        return query("SELECT last_insert_rowid()")[0][0] as Long
    }

    override fun query(sql: String, vararg values: Any?): List<List<Any?>> = prepared(sql, values) { statement ->
        val rows = ArrayList<List<Any?>>()
        statement.executeQuery().use { result ->
            val columns = 1..result.metaData.columnCount
            while (result.next()) {
                rows +=
                    columns.map { result.getObject(it).let { if (it is Int) it.toLong() else it } }
            }
        }
        rows
    }

    override fun <R> transaction(block: () -> R): R = lock.withLock {
        execute("BEGIN IMMEDIATE")
        try {
            block().also { execute("COMMIT") }
        } catch (error: Throwable) {
            runCatching { execute("ROLLBACK") }
            throw error
        }
    }

    override fun close() = lock.withLock {
        closed = true
        connection.close()
    }

    private fun <R> prepared(sql: String, values: Array<out Any?>, run: (PreparedStatement) -> R): R = guarded {
        connection.prepareStatement(sql).use { statement ->
            values.forEachIndexed { place, value -> statement.setObject(place + 1, value) }
            run(statement)
        }
    }

    private fun <R> guarded(block: () -> R): R = try {
        lock.withLock(block)
    } catch (error: SQLException) {
        if (closed) throw StateError("$path: closed; open the device again", error)
        if (error.errorCode and 0xFF in STORAGE) {
            throw StorageError("$path: cannot be read or written (${error.message}); free some space, try again", error)
        }
        throw StateError(
            "$path: damaged (${error.message}); open the device with OnDamage.RESET to begin afresh",
            error
        )
    }

    private companion object {
        // What tells of a full disk, a folder without permission or another process's lock; 0 is the driver's own.
        val STORAGE = listOf(
            SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_CANTOPEN, SQLITE_PERM,
            SQLITE_NOMEM
        ).map { it.code } + 0
    }
}

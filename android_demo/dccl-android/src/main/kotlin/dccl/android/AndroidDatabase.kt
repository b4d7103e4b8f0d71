package dccl.android

import android.database.Cursor
import android.database.DatabaseErrorHandler
import android.database.sqlite.SQLiteAccessPermException
import android.database.sqlite.SQLiteCantOpenDatabaseException
import android.database.sqlite.SQLiteCursor
import android.database.sqlite.SQLiteDatabase
import android.database.sqlite.SQLiteDatabaseLockedException
import android.database.sqlite.SQLiteDiskIOException
import android.database.sqlite.SQLiteException
import android.database.sqlite.SQLiteFullException
import android.database.sqlite.SQLiteOutOfMemoryException
import android.database.sqlite.SQLiteProgram
import android.database.sqlite.SQLiteReadOnlyDatabaseException
import android.database.sqlite.SQLiteTableLockedException
import dccl.core.SqlDatabase
import dccl.core.StateError
import dccl.core.StorageError

/** A SQLite file through the framework. */
class AndroidDatabase(private val path: String) : SqlDatabase {
    private val database: SQLiteDatabase = guarded {
        // The framework's own handler would delete a damaged file; ours leaves that to the caller.
        SQLiteDatabase.openDatabase(path, null, FLAGS, DatabaseErrorHandler { })
    }

    init {
        try {
            execute("PRAGMA synchronous = FULL")
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    override fun execute(sql: String, vararg values: Any?) = guarded { database.execSQL(sql, values) }

    override fun insert(sql: String, vararg values: Any?): Long = guarded {
        database.compileStatement(sql).use { statement ->
            bind(statement, values)
            statement.executeInsert()
        }
    }

    override fun query(sql: String, vararg values: Any?): List<List<Any?>> = guarded {
        val factory = SQLiteDatabase.CursorFactory { _, driver, table, query ->
            bind(query, values) // rawQuery alone would bind every value as text
            SQLiteCursor(driver, table, query)
        }
        database.rawQueryWithFactory(factory, sql, null, "").use { cursor ->
            List(cursor.count) {
                cursor.moveToNext()
                List(cursor.columnCount) { column -> value(cursor, column) }
            }
        }
    }

    override fun <R> transaction(block: () -> R): R = guarded {
        database.beginTransactionNonExclusive()
        try {
            block().also { database.setTransactionSuccessful() }
        } finally {
            database.endTransaction()
        }
    }

    override fun close() = database.close()

    private fun bind(program: SQLiteProgram, values: Array<out Any?>) = values.forEachIndexed { place, value ->
        when (value) {
            null -> program.bindNull(place + 1)
            is Long -> program.bindLong(place + 1, value)
            is String -> program.bindString(place + 1, value)
            is ByteArray -> program.bindBlob(place + 1, value)
            else -> throw IllegalArgumentException("SQL value of a ${value.javaClass.simpleName}")
        }
    }

    private fun value(cursor: Cursor, column: Int): Any? = when (cursor.getType(column)) {
        Cursor.FIELD_TYPE_NULL -> null
        Cursor.FIELD_TYPE_INTEGER -> cursor.getLong(column)
        Cursor.FIELD_TYPE_STRING -> cursor.getString(column)
        Cursor.FIELD_TYPE_BLOB -> cursor.getBlob(column)
        else -> cursor.getDouble(column)
    }

    private fun <R> guarded(block: () -> R): R = try {
        block()
    } catch (error: SQLiteException) {
        if (isOfStorage(error)) {
            throw StorageError("$path: cannot be read or written (${error.message}); free some space, try again", error)
        }
        throw StateError(
            "$path: damaged (${error.message}); open the device with OnDamage.RESET to begin afresh",
            error
        )
    } catch (error: IllegalStateException) { // what the framework throws once it is closed
        if (database.isOpen) throw error
        throw StateError("$path: closed; open the device again", error)
    }

    /** Whether an error tells of a full disk, a folder without permission or another process's lock. */
    private fun isOfStorage(error: SQLiteException): Boolean = when (error) {
        is SQLiteFullException, is SQLiteDiskIOException, is SQLiteReadOnlyDatabaseException,
        is SQLiteDatabaseLockedException, is SQLiteTableLockedException, is SQLiteCantOpenDatabaseException,
        is SQLiteAccessPermException, is SQLiteOutOfMemoryException -> true

        else -> false
    }

    private companion object {
        const val FLAGS = SQLiteDatabase.CREATE_IF_NECESSARY or
            SQLiteDatabase.ENABLE_WRITE_AHEAD_LOGGING or
            SQLiteDatabase.NO_LOCALIZED_COLLATORS
    }
}

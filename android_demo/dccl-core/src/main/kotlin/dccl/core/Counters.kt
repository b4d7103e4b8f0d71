package dccl.core

/** A number kept beside the log; 0 if it was never set. */
internal fun SqlDatabase.counter(name: String): Long =
    query("SELECT value FROM counters WHERE name = ?", name).firstOrNull()?.let { written<Long>(it[0]) } ?: 0

/** Sets a number, which never goes down. */
internal fun SqlDatabase.raiseCounter(name: String, value: Long) {
    transaction {
        execute("INSERT OR IGNORE INTO counters VALUES (?, 0)", name)
        execute("UPDATE counters SET value = max(value, ?) WHERE name = ?", value, name)
    }
}

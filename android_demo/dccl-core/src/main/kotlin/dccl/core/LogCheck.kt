package dccl.core

/**
 * Refuses a log that was damaged where SQLite notices it, or that holds rows which no version of this library has
 * written; the same checks as in the Python runtime (`device_runtime/log/database.py`).
 *
 * @throws StateError it is damaged.
 */
internal fun requireWholeLog(database: SqlDatabase) {
    val finding = database.query("PRAGMA quick_check(1)")[0][0]
    if (finding != "ok") throw damagedLog("$finding")
    if (IMPOSSIBLE.any { database.query("$it LIMIT 1").isNotEmpty() }) throw damagedLog("rows that were never written")
}

/** A value of the log in the type that it was written in. Throws StateError if it has another. */
internal inline fun <reified V> written(value: Any?): V =
    value as? V ?: throw damagedLog("a value that was never written")

internal fun damagedLog(finding: String) = StateError(
    "samples.sqlite: damaged ($finding); open the device with OnDamage.RESET to begin the log afresh"
)

private val IMPOSSIBLE = listOf(
    "SELECT 1 FROM history WHERE typeof(item) NOT IN ('integer', 'text') OR label NOT IN (0, 1) " +
        "OR typeof(timestamp) <> 'integer'",
    "SELECT 1 FROM samples WHERE typeof(item) NOT IN ('integer', 'text') OR label NOT IN (0, 1) " +
        "OR position NOT IN (SELECT position FROM history)",
    "SELECT 1 FROM (SELECT max(position) - min(position) + 1 - count(*) AS gaps FROM history) WHERE gaps <> 0",
    "SELECT 1 FROM (SELECT max(number) - min(number) + 1 - count(*) AS gaps FROM samples) WHERE gaps <> 0",
    "SELECT 1 FROM counters WHERE typeof(name) <> 'text' OR typeof(value) <> 'integer'",
    // Of the other tables the columns alone: a name that is damaged is one that SQLite does not find.
    "SELECT item, first, last FROM met WHERE 0",
    "SELECT number, time, kind, facts FROM events WHERE 0",
    "SELECT sequence, bundle, content, digest, status, detail, attempts, bytes, queued FROM uploads WHERE 0",
    "SELECT bundle, runtime, reason, time FROM refused WHERE 0"
)

package dccl.core

/**
 * Makes the tables of samples.sqlite, or brings an older file forward, in one transaction. They are those of the Python
 * runtime (`device_runtime/log/database.py`), so that either goes on with the other's file; nothing here reads `events`,
 * which are Python's.
 *
 * @throws StateError the file is of a newer schema.
 */
internal fun prepareTables(database: SqlDatabase) = database.transaction {
    val schema = database.query("PRAGMA user_version")[0][0] as Long
    if (schema > ADDED.size) {
        throw StateError("samples.sqlite: expected schema ${ADDED.size} or older, got $schema; use a newer version")
    }
    if (schema < ADDED.size) {
        ADDED.drop(schema.toInt().coerceAtLeast(0)).flatten().forEach { database.execute(it) }
        database.execute("PRAGMA user_version = ${ADDED.size}")
    }
}

// What each schema adds to the one before. An item has no type: numbers and texts come back as they were.
private val ADDED = listOf(
    listOf(
        "CREATE TABLE history (position INTEGER PRIMARY KEY AUTOINCREMENT, item NOT NULL, label INTEGER NOT NULL, " +
            "timestamp INTEGER NOT NULL)",
        "CREATE TABLE samples (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, item NOT NULL, " +
            "label INTEGER NOT NULL)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
    ),
    listOf(
        // Schema 1 of this library had these two, of another shape; what waited there is due for upload again.
        "DROP INDEX IF EXISTS samples_position",
        "DROP TABLE IF EXISTS uploads",
        "CREATE INDEX samples_position ON samples (position)",
        "CREATE TABLE met (item PRIMARY KEY NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX met_last ON met (last)",
        "INSERT INTO met SELECT item, min(position), max(position) FROM history GROUP BY item",
        "CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL, " +
            "facts TEXT NOT NULL)",
        "CREATE TABLE uploads (sequence INTEGER PRIMARY KEY, bundle BLOB NOT NULL, content BLOB NOT NULL, " +
            "digest BLOB NOT NULL, status TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL, " +
            "bytes INTEGER NOT NULL, queued INTEGER NOT NULL)",
        "CREATE TABLE refused (bundle BLOB NOT NULL, runtime TEXT NOT NULL, reason TEXT NOT NULL, " +
            "time INTEGER NOT NULL, PRIMARY KEY (bundle, runtime))"
    )
)

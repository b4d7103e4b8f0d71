package dccl.core

/** One interaction in raw ids. */
data class Interaction(
    val item: RawId,
    val label: Int, // 1 liked or clicked, 0 not
    val timestamp: Long, // seconds
    val skipped: List<RawId> = emptyList()
)

/**
 * The log of a device's interactions, in raw ids, so that it outlives a vocabulary.
 *
 * `history` has one row for each interaction, oldest first. `samples` has the rows to train on: the interaction's own
 * item and what was shown beside it and skipped. A sample's history is whatever comes before its interaction, so
 * nothing is stored twice. Both are bounded: what passes [mostSamples] or [mostHistory] is cut at the old end.
 */
internal class SampleLog(
    private val database: SqlDatabase,
    private val mostSamples: Long = 20_000,
    private val mostHistory: Long = 50_000
) {
    init {
        database.transaction {
            val schema = database.query("PRAGMA user_version")[0][0] as Long
            if (schema > SCHEMA) {
                throw StateError("samples.sqlite: expected schema $SCHEMA, got $schema; use a version that knows it")
            }
            if (schema == 0L) {
                TABLES.forEach { database.execute(it) }
                database.execute("PRAGMA user_version = $SCHEMA")
            }
        }
    }

    /** Adds interactions, oldest first, all or none; [train] false adds them to the history alone. */
    fun append(interactions: List<Interaction>, train: Boolean) {
        database.transaction {
            for (one in interactions) {
                val position = database.insert(
                    "INSERT INTO history (item, label, timestamp) VALUES (?, ?, ?)",
                    stored(one.item),
                    one.label.toLong(),
                    one.timestamp
                )
                if (!train) continue
                val rows = listOf(one.item to one.label) + one.skipped.map { it to 0 }
                for ((item, label) in rows) {
                    val sample = "INSERT INTO samples (position, item, label) VALUES (?, ?, ?)"
                    database.execute(sample, position, stored(item), label.toLong())
                }
            }
            bound()
        }
    }

    /** The newest [count] interactions, the oldest of them first. */
    fun newest(count: Int): History {
        val rows = database.query("SELECT item, label FROM history ORDER BY position DESC LIMIT ?", count.toLong())
        return history(rows.asReversed())
    }

    /** Every item of the history. */
    fun met(): Set<RawId> = database.query("SELECT DISTINCT item FROM history").mapTo(HashSet()) { raw(it[0]) }

    /** All samples and the whole history, as of one moment. */
    fun read(): LoggedSamples = database.transaction {
        val history = database.query("SELECT item, label, position FROM history ORDER BY position")
        val samples = database.query("SELECT item, label, position FROM samples ORDER BY number")
        val index = history.indices.associateBy { history[it][2] }
        LoggedSamples(
            history = history(history),
            items = samples.map { raw(it[0]) },
            labels = FloatArray(samples.size) { (samples[it][1] as Long).toFloat() },
            at = IntArray(samples.size) { index.getValue(samples[it][2]) }
        )
    }

    /** Number of interactions in the history, and of samples. */
    fun counts(): Pair<Long, Long> {
        val row = database.query("SELECT (SELECT count(*) FROM history), (SELECT count(*) FROM samples)")[0]
        return row[0] as Long to row[1] as Long
    }

    /** A number kept beside the log; 0 if it was never raised. */
    fun counter(name: String): Long =
        database.query("SELECT value FROM counters WHERE name = ?", name).firstOrNull()?.get(0) as Long? ?: 0

    /** Sets a number, which never goes down. */
    fun raiseCounter(name: String, value: Long) {
        database.transaction {
            database.execute("INSERT OR IGNORE INTO counters VALUES (?, 0)", name)
            database.execute("UPDATE counters SET value = max(value, ?) WHERE name = ?", value, name)
        }
    }

    /** Deletes the whole log. */
    fun forget() {
        database.transaction {
            database.execute("DELETE FROM samples")
            database.execute("DELETE FROM history")
        }
    }

    private fun bound() {
        // Numbers and positions have no gaps, so they count. The newest interaction's samples stay in any case.
        database.execute(
            "DELETE FROM samples WHERE position <= (SELECT position FROM samples WHERE number = " +
                "(SELECT max(number) FROM samples) - ?) AND position < (SELECT max(position) FROM samples)",
            mostSamples
        )
        database.execute(
            "DELETE FROM history WHERE position <= (SELECT max(position) FROM history) - ? " +
                "AND position < (SELECT coalesce(min(position), position + 1) FROM samples)",
            mostHistory
        )
    }

    private fun history(rows: List<List<Any?>>) =
        History(rows.map { raw(it[0]) }, IntArray(rows.size) { (rows[it][1] as Long).toInt() })

    private fun stored(item: RawId): Any = when (item) {
        is RawId.Number -> item.value
        is RawId.Text -> item.value
    }

    private fun raw(stored: Any?): RawId = if (stored is Long) RawId(stored) else RawId(stored as String)

    private companion object {
        const val SCHEMA = 1L

        // An item has no type: numbers and texts come back as they were.
        val TABLES = listOf(
            "CREATE TABLE history (position INTEGER PRIMARY KEY AUTOINCREMENT, item NOT NULL, " +
                "label INTEGER NOT NULL, timestamp INTEGER NOT NULL)",
            "CREATE TABLE samples (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, " +
                "item NOT NULL, label INTEGER NOT NULL)",
            "CREATE INDEX samples_position ON samples (position)",
            "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
            "CREATE TABLE uploads (sequence INTEGER PRIMARY KEY, bundle BLOB NOT NULL, content BLOB NOT NULL, " +
                "status TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL, bytes INTEGER NOT NULL)"
        )
    }
}

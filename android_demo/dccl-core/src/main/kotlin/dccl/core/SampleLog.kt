package dccl.core

/**
 * Bounds of the log. What passes one is cut at the old end, whole interactions, to nine tenths of it, so that most
 * logging deletes nothing. Cutting samples never shortens the history that rankings or the other samples use.
 */
data class LogLimits(
    val samples: Int = 20_000, // training rows; the newest interaction's are kept in any case
    val history: Int = 10_000, // interactions; never fewer than the bundle's T, and T before the oldest sample
    val met: Int = 50_000 // newest interactions whose items count as met
) {
    init {
        for ((name, value) in listOf("samples" to samples, "history" to history, "met" to met)) {
            if (value < 1) throw InputError("limits.$name: expected a whole number of at least 1, got $value")
        }
    }
}

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
 * nothing is stored twice. `met` remembers longer than either which items the user has met.
 */
internal class SampleLog(private val database: SqlDatabase, private val limits: LogLimits) {
    /**
     * Adds interactions, oldest first, all or none; then the log is within its limits.
     *
     * @param train false adds them to the history alone.
     * @param length T of the bundle in use.
     * @return the items that no longer count as met.
     */
    fun append(interactions: List<Interaction>, train: Boolean, length: Int): List<RawId> {
        if (interactions.isEmpty()) return emptyList()
        return database.transaction {
            for (one in interactions) {
                val position = database.insert(
                    "INSERT INTO history (item, label, timestamp) VALUES (?, ?, ?)",
                    stored(one.item),
                    one.label.toLong(),
                    one.timestamp
                )
                database.execute("INSERT OR IGNORE INTO met VALUES (?, ?, 0)", stored(one.item), position)
                database.execute("UPDATE met SET last = ? WHERE item = ?", position, stored(one.item))
                if (!train) continue
                val rows = listOf(one.item to one.label) + one.skipped.map { it to 0 }
                for ((item, label) in rows) {
                    val sample = "INSERT INTO samples (position, item, label) VALUES (?, ?, ?)"
                    database.execute(sample, position, stored(item), label.toLong())
                }
            }
            bound(length)
        }
    }

    /** The newest [count] interactions, the oldest of them first. */
    fun newest(count: Int): History {
        val rows = database.query("SELECT item, label FROM history ORDER BY position DESC LIMIT ?", count.toLong())
        return history(rows.asReversed())
    }

    /** Every item that counts as met: those of the history, and older ones within the limit. */
    fun met(): MutableSet<RawId> = database.query("SELECT item FROM met").mapTo(HashSet()) { raw(it[0]) }

    /** All samples and the whole history, as of one moment. */
    fun read(): LoggedSamples = database.transaction {
        // What was remembered after the newest sample is left out.
        val newest = number("SELECT max(position) FROM samples") ?: Long.MAX_VALUE
        val rows = "SELECT item, label, position FROM history WHERE position <= ? ORDER BY position"
        val history = database.query(rows, newest)
        val samples = database.query("SELECT item, label, position FROM samples ORDER BY number")
        val index = history.indices.associateBy { history[it][2] }
        LoggedSamples(
            history = history(history),
            items = samples.map { raw(it[0]) },
            labels = FloatArray(samples.size) { written<Long>(samples[it][1]).toFloat() },
            at = IntArray(samples.size) { written(index[samples[it][2]]) },
            met = database.query("SELECT item FROM met WHERE first <= ?", newest).map { raw(it[0]) }
        )
    }

    /** Number of interactions in the history, and of samples. */
    fun counts(): Pair<Long, Long> {
        val row = database.query("SELECT (SELECT count(*) FROM history), (SELECT count(*) FROM samples)")[0]
        return written<Long>(row[0]) to written<Long>(row[1])
    }

    /**
     * Cuts what is beyond the limits. Only the old end is looked at: positions and numbers have no gaps.
     *
     * @return the items that no longer count as met.
     */
    private fun bound(length: Int): List<RawId> {
        val end = written<Long>(number("SELECT max(position) FROM history")) + 1
        firstByCount()?.let { database.execute("DELETE FROM samples WHERE position < ?", it) }
        val most = maxOf(limits.history, length)
        if (end - written<Long>(number("SELECT min(position) FROM history")) > most) {
            val sample = number("SELECT min(position) FROM samples")
            val kept = end - maxOf(share(most), length.toLong())
            database.execute("DELETE FROM history WHERE position < ?", minOf(kept, sample?.minus(length) ?: end))
        }
        val forgotten = database.query("SELECT item FROM met WHERE last < ?", end - limits.met).map { raw(it[0]) }
        if (forgotten.isNotEmpty()) database.execute("DELETE FROM met WHERE last < ?", end - limits.met)
        return forgotten
    }

    /** Position of the oldest interaction whose samples stay, by their number; null if all do. */
    private fun firstByCount(): Long? {
        val first = number("SELECT min(number) FROM samples") ?: return null
        val last = written<Long>(number("SELECT max(number) FROM samples"))
        if (last - first + 1 <= limits.samples) return null
        val position = "SELECT position FROM samples WHERE number = ?"
        val (cut, newest) = listOf(last - share(limits.samples), last).map { written<Long>(number(position, it)) }
        return minOf(cut + 1, newest)
    }

    private fun share(most: Int): Long = maxOf((KEPT * most).toLong(), 1)

    private fun number(query: String, vararg values: Any?): Long? =
        database.query(query, *values).firstOrNull()?.get(0)?.let { written<Long>(it) }

    private fun history(rows: List<List<Any?>>) =
        History(rows.map { raw(it[0]) }, IntArray(rows.size) { written<Long>(rows[it][1]).toInt() })

    private fun stored(item: RawId): Any = when (item) {
        is RawId.Number -> item.value
        is RawId.Text -> item.value
    }

    private fun raw(stored: Any?): RawId = if (stored is Long) RawId(stored) else RawId(written<String>(stored))

    private companion object {
        const val KEPT = 0.9 // share of a bound to which the log is cut
    }
}

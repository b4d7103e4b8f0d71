package dccl.core

/** Interactions in raw ids, oldest first. */
class History(val items: List<RawId>, val labels: IntArray)

/** All training rows with the history that they rely on, in the order in which they were logged. */
class LoggedSamples(
    val history: History,
    val items: List<RawId>, // [N] of each row
    val labels: FloatArray, // [N]
    val at: IntArray, // [N] index of the row's interaction in `history`: what is before it is the row's history
    val met: List<RawId> = emptyList() // items that the user has met, those of `history` and older ones
)

/**
 * N rows in one bundle's ids, in the order in which they were logged. Histories are windows of one padded sequence:
 * row r has `items[at[r]]` until `items[at[r] + T - 1]`.
 */
class Rows(
    val items: IntArray, // [T + n]: T of padding, then the whole history of n interactions
    val itemLabels: IntArray, // [T + n]
    val at: IntArray, // [N]
    val candidates: IntArray, // [N]
    val labels: FloatArray // [N]
) {
    val size: Int get() = candidates.size

    /** Some rows, on the same sequence. @param chosen [N], true for those that stay. */
    fun only(chosen: BooleanArray): Rows {
        val places = candidates.indices.filter { chosen[it] }
        return Rows(
            items,
            itemLabels,
            IntArray(places.size) { at[places[it]] },
            IntArray(places.size) { candidates[places[it]] },
            FloatArray(places.size) { labels[places[it]] }
        )
    }
}

/** The newest [length] items and labels, right-aligned, 0 on the left. */
internal fun encodeHistory(history: History, vocabulary: Vocabulary, length: Int): Pair<IntArray, IntArray> {
    val items = IntArray(length)
    val labels = IntArray(length)
    val count = minOf(length, history.items.size)
    for (back in 1..count) {
        items[length - back] = vocabulary.encode(history.items[history.items.size - back])
        labels[length - back] = history.labels[history.items.size - back]
    }
    return items to labels
}

/**
 * The log's samples as rows.
 *
 * @param historyLength T.
 * @param negatives items to draw, with label 0, for each click that was logged without anything skipped beside it, for
 *   logs of clicks alone. Items that the user has met, or that were shown, are never drawn.
 * @param seed of the draw; one seed, one log, one draw.
 */
internal fun encodeRows(
    logged: LoggedSamples,
    vocabulary: Vocabulary,
    historyLength: Int,
    negatives: Int = 0,
    seed: Long = 0
): Rows {
    val rows = Rows(
        items = IntArray(historyLength) + vocabulary.encode(logged.history.items),
        itemLabels = IntArray(historyLength) + logged.history.labels,
        at = logged.at,
        candidates = vocabulary.encode(logged.items),
        labels = logged.labels
    )
    if (negatives == 0 || rows.size == 0) return rows
    return withNegatives(rows, vocabulary.encode(logged.met), vocabulary.size, negatives, seed)
}

/** [older]: model ids that the user met before what is left of the history. */
private fun withNegatives(rows: Rows, older: IntArray, items: Int, negatives: Int, seed: Long): Rows {
    val met = BooleanArray(items + 2)
    for (ids in listOf(rows.items, rows.candidates, older)) ids.forEach { met[it] = true }
    val allowed = (1..items).filterNot { met[it] }.toIntArray()
    val count = minOf(negatives, allowed.size)
    if (count == 0) return rows
    val together = rows.at.toList().groupingBy { it }.eachCount()
    val at = ArrayList<Int>()
    val candidates = ArrayList<Int>()
    val labels = ArrayList<Float>()
    for (row in 0 until rows.size) {
        at += rows.at[row]
        candidates += rows.candidates[row]
        labels += rows.labels[row]
        if (rows.labels[row] > 0 && together[rows.at[row]] == 1) { // drawn items stand after their click
            for (drawn in draw(allowed, count, seed, rows.at[row])) {
                at += rows.at[row]
                candidates += drawn
                labels += 0f
            }
        }
    }
    return Rows(rows.items, rows.itemLabels, at.toIntArray(), candidates.toIntArray(), labels.toFloatArray())
}

/** [count] different ids, the same for one seed and interaction in every language. */
private fun draw(allowed: IntArray, count: Int, seed: Long, interaction: Int): List<Int> {
    val start = mix64((seed.toULong() shl 32) or interaction.toULong())
    val tries = maxOf(4 * count, 16)
    val places = LinkedHashSet<Int>()
    for (number in 0 until tries) {
        places += (mix64(start + number.toULong()) % allowed.size.toULong()).toInt()
    }
    val chosen = LinkedHashSet(places.take(count))
    for (place in allowed.indices) { // few items are left: fill up with the others in their order
        if (chosen.size == count) break
        chosen += place
    }
    return chosen.map { allowed[it] }
}

package dccl.core

import java.math.BigDecimal
import java.math.RoundingMode

// Which rows a device holds out and in which order it trains on the rest: pure functions of counts and a seed, defined
// bit by bit in docs/protocol.md, so that a simulated fleet or a device in Python trains exactly as this one does.

/**
 * Marks the rows of the newest interactions, whole ones: a click never parts from what was skipped beside it.
 *
 * @param at [N] which interaction each row belongs to, oldest first.
 * @param fraction share of the interactions in [0, 1). It travels as a float32, so its shortest decimal counts: 0.7 of
 *   10 is 7, though the float32 is a little less than 0.7.
 * @return [N], true for rows of the newest floor(fraction * interactions) interactions.
 */
fun heldoutRows(at: IntArray, fraction: Float): BooleanArray {
    if (!(fraction >= 0 && fraction < 1)) {
        throw InputError(
            "heldout_fraction: expected a share in [0, 1), got $fraction"
        )
    }
    val distinct = at.distinct()
    val count = (shortest(fraction) * BigDecimal(distinct.size)).setScale(0, RoundingMode.FLOOR).toInt()
    if (count == 0) return BooleanArray(at.size)
    val newestTrained = distinct[distinct.size - count - 1]
    return BooleanArray(at.size) { at[it] > newestTrained }
}

/**
 * The order in which an epoch visits the training rows: by mix64(mix64(seed + 2^32 * epoch) + row), see [mix64].
 *
 * @return ceil(rows / batch) batches of row numbers; the last one may be shorter than the others.
 */
fun trainingSchedule(rows: Int, batch: Int, epoch: Int, seed: Long = 0): List<List<Int>> {
    val start = mix64(seed.toULong() + (epoch.toULong() shl 32))
    val keys = List(rows) { mix64(start + it.toULong()) }
    return (0 until rows).sortedBy { keys[it] }.chunked(batch)
}

/**
 * A hash of unsigned 64-bit numbers: one step of SplitMix64 (Steele et al., 2014), the same in every language.
 */
fun mix64(x: ULong): ULong {
    var z = x + 0x9E3779B97F4A7C15u
    z = (z xor (z shr 30)) * 0xBF58476D1CE4E5B9u
    z = (z xor (z shr 27)) * 0x94D049BB133111EBu
    return z xor (z shr 31)
}

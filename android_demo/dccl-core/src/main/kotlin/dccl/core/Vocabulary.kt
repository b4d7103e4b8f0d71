package dccl.core

import dccl.Dccl
import java.util.Arrays

/**
 * From the app's own item ids and profile values to the numbers that the model takes.
 *
 * Model ids are 1..V in the order of the vocabulary, 0 is padding, V + 1 is every item that the bundle does not know.
 * A vocabulary holds whole numbers or texts, never both.
 */
class Vocabulary internal constructor(items: Dccl.Vocabulary, profile: List<Dccl.ProfileField> = emptyList()) {
    /** V. */
    val size: Int = maxOf(items.intIdsCount, items.stringIdsCount)
    val outOfVocabulary: Int get() = size + 1

    private val numbers: Boolean = items.intIdsCount > 0
    private val texts: Map<String, Int>
    private val sorted: LongArray // the numbers, ascending
    private val modelIds: IntArray // of `sorted`
    private val negative: Boolean // hashed ids may be negative; elsewhere that is a mistake, such as a missing value

    /** Name of each profile field and the index of each of its values. */
    private val fields: Map<String, Map<String, Int>> =
        profile.associate { field -> field.name to field.valuesList.withIndex().associate { it.value to it.index + 1 } }

    init {
        if (numbers == items.stringIdsCount > 0) {
            throw BundleError(
                "vocabulary.pb: expected either int_ids or string_ids to be filled, got ${items.intIdsCount} and " +
                    "${items.stringIdsCount}; export the bundle again"
            )
        }
        texts = items.stringIdsList.withIndex().associate { it.value to it.index + 1 }
        val order = (0 until items.intIdsCount).sortedBy { items.getIntIds(it) }
        sorted = LongArray(order.size) { items.getIntIds(order[it]) }
        modelIds = IntArray(order.size) { order[it] + 1 }
        negative = sorted.isNotEmpty() && sorted[0] < 0
        val repeated = if (numbers) (1 until size).any { sorted[it] == sorted[it - 1] } else texts.size < size
        if (repeated) {
            throw BundleError(
                "vocabulary.pb: expected each item id once, got one twice; export the bundle again"
            )
        }
    }

    /** Raw ids of model ids 1..V, in that order. */
    val ids: List<RawId> by lazy {
        if (!numbers) return@lazy texts.keys.map { RawId(it) }
        val result = LongArray(size)
        modelIds.forEachIndexed { place, id -> result[id - 1] = sorted[place] }
        result.map { RawId(it) }
    }

    /** Profile fields and their values. */
    val profileFields: Map<String, List<String>> get() = fields.mapValues { it.value.keys.toList() }

    /**
     * Refuses ids of another kind than the vocabulary's and negative ones; whether they are known plays no part.
     *
     * @param name what to call them in the error.
     * @throws InputError an id is not what was asked for.
     */
    fun check(name: String, ids: List<RawId>) {
        ids.forEachIndexed { position, id ->
            val expected = when {
                id is RawId.Text && numbers -> "a whole number, as in this bundle's vocabulary"
                id is RawId.Text && !isWhole(id.value) -> "a text, not half a pair of surrogates"
                id is RawId.Number && !numbers -> "a text, as in this bundle's vocabulary"
                id is RawId.Number && id.value < 0 && !negative -> "an item id of the log, which is never negative"
                else -> null
            }
            if (expected != null) throw InputError("$name: expected $expected, got $id at position $position")
        }
    }

    private fun isWhole(text: String): Boolean =
        text.none(Char::isSurrogate) || Charsets.UTF_8.newEncoder().canEncode(text)

    /** Model id of a raw id; V + 1 if this bundle does not know it, whatever its kind. */
    fun encode(id: RawId): Int = when (id) {
        is RawId.Text -> texts[id.value] ?: outOfVocabulary
        is RawId.Number -> Arrays.binarySearch(sorted, id.value).let { if (it >= 0) modelIds[it] else outOfVocabulary }
    }

    fun encode(ids: List<RawId>): IntArray = IntArray(ids.size) { encode(ids[it]) }

    /**
     * Indices, one for each field, of a profile such as {"age": "25-34"}; a field that is absent is unknown (0).
     *
     * @return the indices, and the names of the fields whose value this bundle does not know.
     * @throws InputError a field's name is unknown.
     */
    fun profile(values: Map<String, Any>): Pair<IntArray, List<String>> {
        values.keys.firstOrNull { it !in fields }?.let {
            throw InputError("profile: ${unknownName("field", it, fields.keys)}")
        }
        val indices = IntArray(fields.size)
        val unknown = ArrayList<String>()
        fields.entries.forEachIndexed { place, (name, known) ->
            val value = values[name] ?: return@forEachIndexed
            indices[place] = known[value.toString()] ?: 0.also { unknown += name }
        }
        return indices to unknown
    }
}

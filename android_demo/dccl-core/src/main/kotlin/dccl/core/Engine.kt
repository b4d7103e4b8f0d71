package dccl.core

import dccl.Dccl
import java.io.Closeable
import kotlin.math.abs

/** A metapatch and what its optimiser remembers: what `get` and `set` carry. The arrays are never written to. */
class VectorState(
    val vector: FloatArray, // [K]
    val firstMoment: FloatArray, // [K]
    val secondMoment: FloatArray, // [K]
    val step: Float // steps done
) {
    /**
     * False once training has diverged: a value is not finite, is the largest float32 (at which TFLite's builtin
     * kernels stop instead of giving infinity), or a vector's is beyond all use (the tanh of a patch saturates before).
     */
    val sound: Boolean
        get() = vector.all { abs(it) < VECTOR_LIMIT } &&
            (firstMoment.asSequence() + secondMoment.asSequence() + step).all { abs(it) < Float.MAX_VALUE }

    companion object {
        private const val VECTOR_LIMIT = 1e6f

        /** A vector with a fresh optimiser. */
        fun start(vector: FloatArray) = VectorState(vector, FloatArray(vector.size), FloatArray(vector.size), 0f)
    }
}

/** B rows for a training step; those that pad have weight 0. */
class Batch(val hidden: FloatArray /* [B, F] */, val labels: FloatArray /* [B] */, val weights: FloatArray /* [B] */)

/**
 * The model's signatures as functions of a vector: the runner's own variables are never relied upon.
 *
 * Each call loads the vector that it is given (only if another one is loaded) and runs under one lock. So a ranking
 * during training, or two vectors on one runner, cannot mix. Rows are encoded once by the frozen part of the model and
 * trained on in that form (docs/protocol.md, `encode`).
 *
 * @throws BundleError the model's signatures are not those that the manifest promises, or its operators need a newer
 *   runtime.
 */
class Engine(val runner: CheckedRunner, val manifest: Dccl.Manifest) : Closeable by runner {
    private var loaded: VectorState? = null

    init {
        requireRuntime(manifest.oldestRuntime, runner.runtime)
        for ((name, inputs) in expectedInputs(manifest)) {
            val got = runner.signatures[name]?.inputs?.mapValues { it.value.shape }
            if (got != inputs) {
                throw BundleError(
                    "model.tflite: expected the signature $name with inputs $inputs as in manifest.pb, got " +
                        "${got ?: "no such signature"}; export the bundle again"
                )
            }
        }
    }

    /** U(0, u) with a fresh optimiser: where a new device begins. */
    fun start(profile: IntArray): VectorState = from("init", "profile" to Ints(profile))

    /** U(vector, u) with a fresh optimiser: where a vector of an earlier bundle goes on in this one. */
    fun rebase(vector: FloatArray, profile: IntArray): VectorState =
        from("rebase", "vector" to Floats(vector), "profile" to Ints(profile))

    /**
     * Scores any number N of candidates in chunks of C.
     *
     * @param history [T] model ids; [historyLabels] likewise, used only if the manifest says so.
     * @param gate 0 is the cloud model, 1 the personal one.
     * @return [N] logits.
     */
    fun logits(
        state: VectorState,
        history: IntArray,
        historyLabels: IntArray,
        profile: IntArray,
        candidates: IntArray,
        gate: Float
    ): FloatArray {
        checkIds("history", history)
        checkIds("candidates", candidates)
        val width = manifest.candidates
        val result = FloatArray(candidates.size)
        runner.exclusive {
            load(state)
            for (begin in candidates.indices step width) {
                val count = minOf(width, candidates.size - begin)
                val chunk = candidates.copyOfRange(begin, begin + count).copyOf(width)
                val user = user(history, historyLabels, profile)
                val logits = runner.call("infer", *user, "candidates" to Ints(chunk), "gate" to one(gate))
                logits.getValue("logits").copyInto(result, begin, 0, count)
            }
        }
        return result
    }

    /**
     * What the frozen part of the model makes of all rows: [N, F], row-major.
     *
     * A call takes B neighbouring interactions with one candidate each, so what neighbours share is computed once;
     * what was shown beside an interaction goes into further calls.
     */
    fun encode(rows: Rows, profile: IntArray): FloatArray {
        checkIds("history", rows.items)
        checkIds("candidates", rows.candidates)
        val batch = manifest.trainBatch
        val width = manifest.encodedWidth
        val length = manifest.historyLength + batch - 1
        val result = FloatArray(rows.size * width)
        for (window in windows(rows.at, batch)) {
            val first = rows.at[window.first()]
            val candidates = IntArray(batch)
            for (row in window) candidates[rows.at[row] - first] = rows.candidates[row]
            val user = user(part(rows.items, first, length), part(rows.itemLabels, first, length), profile)
            val hidden = runner.call("encode", *user, "candidates" to Ints(candidates)).getValue("hidden")
            for (row in window) {
                val place = rows.at[row] - first
                hidden.copyInto(result, row * width, place * width, (place + 1) * width)
            }
        }
        return result
    }

    /** Logits [B] of encoded rows [B, F]. */
    fun evaluate(state: VectorState, hidden: FloatArray, gate: Float): FloatArray = runner.exclusive {
        load(state)
        runner.call("evaluate_encoded", "hidden" to Floats(hidden), "gate" to one(gate)).getValue("logits")
    }

    /**
     * One step of the optimiser.
     *
     * @return the batch's loss before the step, and the state after it; neither need be finite.
     * @throws InputError a label is outside [0, 1], or a weight negative.
     */
    fun train(
        state: VectorState,
        batch: Batch,
        learningRate: Float,
        anchor: FloatArray,
        pull: Float
    ): Pair<Float, VectorState> {
        val label = batch.labels.firstOrNull { it !in 0f..1f } // NaN is in no range
        if (label != null) throw InputError("labels: expected values in [0, 1], got $label")
        val weight = batch.weights.firstOrNull { !(it >= 0f) }
        if (weight != null) throw InputError("weights: expected values of at least 0, got $weight")
        return runner.exclusive {
            load(state)
            loaded = null // until the new state is known
            val loss = runner.call(
                "train_encoded",
                "hidden" to Floats(batch.hidden),
                "labels" to Floats(batch.labels),
                "weights" to Floats(batch.weights),
                "learning_rate" to one(learningRate),
                "anchor" to Floats(anchor),
                "pull" to one(pull)
            ).getValue("loss")[0]
            val got = runner.call("get", "unused" to one(0f))
            val after = VectorState(
                got.getValue("vector"),
                got.getValue("first_moment"),
                got.getValue("second_moment"),
                got.getValue("step")[0]
            )
            loaded = after
            loss to after
        }
    }

    private fun from(signature: String, vararg inputs: Pair<String, Tensor>): VectorState = runner.exclusive {
        loaded = null
        VectorState.start(runner.call(signature, *inputs).getValue("vector"))
    }

    private fun load(state: VectorState) {
        if (loaded === state) return
        loaded = null // should `set` fail, nothing counts as loaded
        runner.call(
            "set",
            "vector" to Floats(state.vector),
            "first_moment" to Floats(state.firstMoment),
            "second_moment" to Floats(state.secondMoment),
            "step" to one(state.step)
        )
        loaded = state
    }

    private fun user(history: IntArray, labels: IntArray, profile: IntArray): Array<Pair<String, Tensor>> =
        listOfNotNull(
            "history" to Ints(history),
            ("history_labels" to Ints(labels)).takeIf { manifest.historyLabels },
            "profile" to Ints(profile)
        ).toTypedArray()

    /** A gather outside the table is undefined in some runtimes. */
    private fun checkIds(name: String, ids: IntArray) {
        val last = manifest.items + 1
        ids.firstOrNull { it !in 0..last }?.let { throw InputError("$name: expected model ids in 0..$last, got $it") }
    }
}

/**
 * Groups rows into calls of `encode`: in each, at most one row of an interaction, all within [batch] neighbouring
 * interactions.
 *
 * @param at [N] interaction of each row, ascending.
 */
internal fun windows(at: IntArray, batch: Int): List<List<Int>> {
    val numberWithin = IntArray(at.size) // of each row among its interaction's rows
    for (row in 1 until at.size) numberWithin[row] = if (at[row] == at[row - 1]) numberWithin[row - 1] + 1 else 0
    val result = ArrayList<ArrayList<Int>>()
    for (row in at.indices.sortedBy { numberWithin[it] }) {
        val open = result.lastOrNull()
        if (open != null && at[row] > at[open.last()] && at[row] - at[open[0]] < batch) {
            open += row
        } else {
            result += arrayListOf(row)
        }
    }
    return result
}

/** `values[from until from + length]`, with zeros after the end. */
private fun part(values: IntArray, from: Int, length: Int): IntArray =
    values.copyOfRange(from, minOf(from + length, values.size)).copyOf(length)

private fun one(value: Float) = Floats(floatArrayOf(value))

/** Shape of each input of each signature that is used here, for the sizes of a manifest (docs/protocol.md). */
private fun expectedInputs(manifest: Dccl.Manifest): Map<String, Map<String, List<Int>>> {
    val k = listOf(manifest.metapatchLength)
    val b = listOf(manifest.trainBatch)
    val one = listOf(1)
    val profile = mapOf("profile" to listOf(1, manifest.profileCount))
    val hidden = mapOf("hidden" to listOf(manifest.trainBatch, manifest.encodedWidth))

    fun user(length: Int) = profile + ("history" to listOf(1, length)) +
        (if (manifest.historyLabels) mapOf("history_labels" to listOf(1, length)) else emptyMap())

    return mapOf(
        "infer" to user(manifest.historyLength) + ("candidates" to listOf(1, manifest.candidates)) + ("gate" to one),
        "encode" to user(manifest.historyLength + manifest.trainBatch - 1) + ("candidates" to b),
        "evaluate_encoded" to hidden + ("gate" to one),
        "train_encoded" to hidden +
            mapOf("labels" to b, "weights" to b, "learning_rate" to one, "anchor" to k, "pull" to one),
        "init" to profile,
        "rebase" to profile + ("vector" to k),
        "get" to mapOf("unused" to one),
        "set" to mapOf("vector" to k, "first_moment" to k, "second_moment" to k, "step" to one)
    )
}

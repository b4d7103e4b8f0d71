package dccl.core

import dccl.Dccl
import kotlin.math.abs
import kotlin.math.ln1p

/** How to train. What is null is as the bundle's manifest says. */
data class PersonalizeConfig(
    val learningRate: Float? = null,
    val epochs: Int? = null, // at most
    val pull: Float? = null, // precision of the prior at the anchor: n rows share 0.5 * pull * |vector - anchor|^2
    val heldoutFraction: Float? = null, // newest interactions, kept for the gate
    val gateMargin: Float? = null, // held-out log loss that personal must win by; negative: may lose by
    val negatives: Int? = null, // drawn for each click that has nothing skipped beside it
    val seed: Long = 0,
    val patience: Int? = null, // epochs without a better held-out loss before stopping; null: all epochs are run
) {
    init {
        check("learning_rate", learningRate?.toDouble(), 0.0, Double.MAX_VALUE)
        check("epochs", epochs?.toDouble(), 1.0, Double.MAX_VALUE)
        check("pull", pull?.toDouble(), 0.0, Double.MAX_VALUE)
        check("heldout_fraction", heldoutFraction?.toDouble(), 0.0, Math.nextDown(1.0))
        check("gate_margin", gateMargin?.toDouble(), -Double.MAX_VALUE, Double.MAX_VALUE)
        check("negatives", negatives?.toDouble(), 0.0, Double.MAX_VALUE)
        check("seed", seed.toDouble(), 0.0, 4294967295.0)
        check("patience", patience?.toDouble(), 1.0, Double.MAX_VALUE)
    }

    private fun check(name: String, value: Double?, least: Double, most: Double) {
        if (value != null && value !in least..most) throw InputError("$name: expected a value of at least $least, got $value")
    }
}

/** What a training did. Losses are mean log losses. */
data class Report(
    val stopped: String, // finished, no samples, patience, should_stop or diverged
    val samples: Int, // rows trained on
    val heldoutSamples: Int,
    val steps: Int,
    val losses: List<Double>, // of each epoch's batches before their step
    val heldoutLosses: List<Double>, // after each epoch, gate 1; empty without held-out rows
    val bestEpoch: Int?, // whose vector was kept, from 0; null: the vector is the one from before
    val cloudLoss: Double?, // held-out, gate 0
    val personalLoss: Double?, // held-out, the kept vector with gate 1
    val gate: Double,
    val seconds: Double,
)

/** The kept vector, the evidence for its gate, and the report. */
internal class Outcome(val state: VectorState, val evidence: Evidence, val report: Report)

/** N rows as `train_encoded` and `evaluate_encoded` take them, and which of them are held out. */
internal class EncodedRows(
    private val hidden: FloatArray, // [N, F]
    private val labels: FloatArray, // [N]
    private val batch: Int, // B
    heldout: BooleanArray, // [N]
) {
    private val width = if (labels.isEmpty()) 0 else hidden.size / labels.size
    val training: List<Int> = labels.indices.filterNot { heldout[it] }
    val heldout: List<Int> = labels.indices.filter { heldout[it] }

    fun label(row: Int): Float = labels[row]

    /** At most B rows, padded with rows of zeros that weigh nothing. */
    fun batch(rows: List<Int>): Batch {
        val result = Batch(FloatArray(batch * width), FloatArray(batch), FloatArray(batch))
        rows.forEachIndexed { place, row ->
            hidden.copyInto(result.hidden, place * width, row * width, (row + 1) * width)
            result.labels[place] = labels[row]
            result.weights[place] = 1f
        }
        return result
    }
}

/**
 * Personalisation (Eq. 3 of the paper on one device): trains the vector on the device's own samples and weighs it
 * against the cloud model (docs/protocol.md). A function of a vector, rows and settings; nothing is stored here, so
 * whatever goes wrong leaves the device as it was.
 *
 * @param shouldStop asked before every step; what was trained until then is weighed like a whole epoch.
 */
internal class Personalization(
    private val engine: Engine,
    private val rows: EncodedRows,
    private val config: PersonalizeConfig,
    private val anchor: FloatArray, // [K] that `pull` draws towards
    private val shouldStop: () -> Boolean = { false },
    private val onStep: (epoch: Int, step: Int, loss: Float) -> Unit = { _, _, _ -> },
) {
    private val defaults: Dccl.Training = engine.manifest.training
    private val learningRate = config.learningRate ?: defaults.learningRate
    private val margin = config.gateMargin ?: defaults.gateMargin
    private val pull = ((config.pull ?: defaults.pull).toDouble() / maxOf(1, rows.training.size)).toFloat()

    private var stopped = if (rows.training.isEmpty()) "no samples" else "finished"
    private var steps = 0

    /**
     * Trains on from [start].
     *
     * @return the vector with the lowest held-out loss among those after each epoch, and [start] if it had been trained
     *   before; without held-out rows the newest, with gate 0. If a loss or a state is not sound, training ends there
     *   and that epoch does not count.
     */
    fun run(start: VectorState): Outcome {
        val began = System.nanoTime()
        val losses = ArrayList<Double>()
        val heldoutLosses = ArrayList<Double>()
        var best = start
        var bestEpoch: Int? = null
        var bestLoss = if (start.step > 0) orInfinity(heldoutLoss(start, 1f)) else Double.POSITIVE_INFINITY
        var state = start
        var epoch = 0
        while (stopped == "finished" && epoch < (config.epochs ?: defaults.epochs)) {
            val (after, loss) = epoch(state, epoch) ?: break
            state = after
            losses += loss
            val heldout = heldoutLoss(state, 1f)
            heldout?.let { heldoutLosses += orInfinity(it) }
            if (heldout == null || orInfinity(heldout) < bestLoss) {
                best = state
                bestEpoch = epoch
                bestLoss = orInfinity(heldout)
            } else if (config.patience != null && epoch - (bestEpoch ?: -1) >= config.patience && stopped == "finished") {
                stopped = "patience"
            }
            epoch++
        }
        val personalLoss = bestLoss.takeIf { it.isFinite() }
        val evidence = Evidence(rows.heldout.size, heldoutLoss(start, 0f), personalLoss)
        val report = Report(
            stopped = stopped,
            samples = rows.training.size,
            heldoutSamples = rows.heldout.size,
            steps = steps,
            losses = losses,
            heldoutLosses = heldoutLosses,
            bestEpoch = bestEpoch,
            cloudLoss = evidence.cloudLoss,
            personalLoss = personalLoss,
            gate = decideGate(evidence, margin.toDouble()),
            seconds = (System.nanoTime() - began) / 1e9,
        )
        return Outcome(best, evidence, report)
    }

    /** What the held-out rows say of a vector that is not being trained, and the gate that follows. */
    fun weigh(state: VectorState): Pair<Evidence, Double> {
        val personal = heldoutLoss(state, 1f)?.takeIf { it.isFinite() }
        val evidence = Evidence(rows.heldout.size, heldoutLoss(state, 0f), personal)
        return evidence to decideGate(evidence, margin.toDouble())
    }

    /** The state after one epoch and its mean loss; null if it does not count. */
    private fun epoch(start: VectorState, epoch: Int): Pair<VectorState, Double>? {
        var state = start
        var total = 0.0
        var seen = 0
        val order = trainingSchedule(rows.training.size, engine.manifest.trainBatch, epoch, config.seed)
        for ((step, chosen) in order.withIndex()) {
            if (shouldStop()) {
                stopped = "should_stop"
                break
            }
            val batch = rows.batch(chosen.map { rows.training[it] })
            val (loss, after) = engine.train(state, batch, learningRate, anchor, pull)
            if (!loss.isFinite() || !after.sound) {
                stopped = "diverged"
                return null
            }
            state = after
            total += loss.toDouble() * chosen.size
            seen += chosen.size
            steps++
            onStep(epoch, step, loss)
        }
        return if (seen == 0) null else state to total / seen
    }

    /** Mean log loss of the held-out rows; null if there are none. */
    private fun heldoutLoss(state: VectorState, gate: Float): Double? {
        if (rows.heldout.isEmpty()) return null
        var total = 0.0
        for (part in rows.heldout.chunked(engine.manifest.trainBatch)) {
            val logits = engine.evaluate(state, rows.batch(part).hidden, gate)
            part.forEachIndexed { place, row -> total += logLoss(logits[place], rows.label(row)) }
        }
        return total / rows.heldout.size
    }

    private fun orInfinity(loss: Double?): Double = loss?.takeIf { it.isFinite() } ?: Double.POSITIVE_INFINITY
}

/**
 * 1 if the personal model beat the cloud model by more than [margin] on held-out rows, else 0; no rows, no evidence, 0.
 */
fun decideGate(evidence: Evidence, margin: Double): Double {
    val cloud = evidence.cloudLoss ?: return 0.0
    val personal = evidence.personalLoss ?: return 0.0
    return if (personal < cloud - margin) 1.0 else 0.0
}

/** Binary cross-entropy of a logit, in nats; stable for any logit. */
internal fun logLoss(logit: Float, label: Float): Double {
    val x = logit.toDouble()
    return maxOf(x, 0.0) - x * label + ln1p(kotlin.math.exp(-abs(x)))
}

/** A budget of wall-clock time: true once [seconds] have passed, for [Personalizer.personalize]'s `shouldStop`. */
fun timeBudget(seconds: Double): () -> Boolean {
    val end = System.nanoTime() + (seconds * 1e9).toLong()
    return { System.nanoTime() > end }
}

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
    val patience: Int? = null // epochs without a better held-out loss before stopping; null: all epochs are run
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
        if (value != null && value !in least..most) {
            throw InputError("$name: expected a value in [$least, $most], got $value")
        }
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
    val seconds: Double
)

/** The kept vector, the evidence for its gate, and the report. */
internal class Outcome(val state: VectorState, val evidence: Evidence, val report: Report)

/** N rows as `train_encoded` and `evaluate_encoded` take them, and which of them are held out. */
internal class EncodedRows(
    private val hidden: FloatArray, // [N, F]
    private val labels: FloatArray, // [N]
    private val batch: Int, // B
    heldout: BooleanArray // [N]
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
 * Personalisation (Eq. 3 of the paper on one device): trains a vector on the device's own samples and weighs it against
 * the cloud model (docs/protocol.md). Nothing is stored here, so whatever goes wrong leaves the device as it was.
 *
 * @param start vector and optimiser state to go on from.
 * @param anchor [K] that `pull` draws towards.
 */
internal class Personalization(
    private val engine: Engine,
    private val rows: EncodedRows,
    val config: PersonalizeConfig,
    private val start: VectorState,
    private val anchor: FloatArray
) {
    private val defaults: Dccl.Training = engine.manifest.training
    private val learningRate = config.learningRate ?: defaults.learningRate
    private val epochs = config.epochs ?: defaults.epochs
    private val margin = (config.gateMargin ?: defaults.gateMargin).toDouble()
    private val pull = ((config.pull ?: defaults.pull).toDouble() / maxOf(1, rows.training.size)).toFloat()
    private val cloudLoss by lazy { heldoutLoss(start, 0f) }

    // Where the training stands: within an epoch, and the best of those before.
    private var state = start
    private var epoch = 0
    private var step = 0 // of the epoch
    private var steps = 0 // of all
    private var total = 0.0 // loss of the epoch's rows so far
    private var seen = 0 // rows of the epoch so far
    private var best = Candidate(start, null, orInfinity(if (start.step > 0) heldoutLoss(start, 1f) else null))
    private val losses = ArrayList<Double>()
    private val heldoutLosses = ArrayList<Double>()
    private var seconds = 0.0

    private class Candidate(val state: VectorState, val epoch: Int?, val loss: Double)

    /**
     * Trains on from where the last call stopped, until it is finished or [shouldStop], which is asked before every step.
     * What was trained until then is weighed like a whole epoch.
     *
     * @return the vector with the lowest held-out loss among those after each epoch, and `start` if it had been trained
     *   before; without held-out rows the newest, with gate 0. If a loss or a state is not sound, training ends there
     *   and that epoch does not count.
     */
    fun run(shouldStop: () -> Boolean, onStep: (epoch: Int, step: Int, loss: Float) -> Unit): Outcome {
        val began = System.nanoTime()
        var stopped = if (rows.training.isEmpty()) "no samples" else null
        while (stopped == null && epoch < epochs) stopped = finishEpoch(shouldStop, onStep)
        val interrupted = stopped == "should_stop" && seen > 0
        val losses = if (interrupted) losses + total / seen else losses.toList()
        val heldoutLosses = heldoutLosses + listOfNotNull(if (interrupted) heldoutLoss(state, 1f) else null)
        val kept = if (interrupted) better(heldoutLosses.lastOrNull()) else best
        val evidence = Evidence(rows.heldout.size, cloudLoss, kept.loss.takeIf { it.isFinite() })
        seconds += (System.nanoTime() - began) / 1e9
        val report = Report(
            stopped = stopped ?: "finished",
            samples = rows.training.size,
            heldoutSamples = rows.heldout.size,
            steps = steps,
            losses = losses,
            heldoutLosses = heldoutLosses,
            bestEpoch = kept.epoch,
            cloudLoss = evidence.cloudLoss,
            personalLoss = evidence.personalLoss,
            gate = decideGate(evidence, margin),
            seconds = seconds
        )
        return Outcome(kept.state, evidence, report)
    }

    /** Trains to the end of the epoch; what stopped it or all training, null if nothing did. */
    private fun finishEpoch(shouldStop: () -> Boolean, onStep: (Int, Int, Float) -> Unit): String? {
        val order = trainingSchedule(rows.training.size, engine.manifest.trainBatch, epoch, config.seed)
        while (step < order.size) {
            if (shouldStop()) return "should_stop"
            val chosen = order[step].map { rows.training[it] }
            val (loss, after) = engine.train(state, rows.batch(chosen), learningRate, anchor, pull)
            if (!loss.isFinite() || !after.sound) return "diverged"
            onStep(epoch, step, loss)
            state = after
            total += loss.toDouble() * chosen.size
            seen += chosen.size
            step++
            steps++
        }
        losses += total / seen
        heldoutLoss(state, 1f)?.let { heldoutLosses += orInfinity(it) }
        best = better(heldoutLosses.lastOrNull())
        val waited = epoch - (best.epoch ?: -1)
        epoch++
        step = 0
        total = 0.0
        seen = 0
        return "patience".takeIf { config.patience != null && waited >= config.patience }
    }

    /** The state after this epoch, or what was best before; without held-out rows the newest. */
    private fun better(loss: Double?): Candidate =
        if (loss == null || loss < best.loss) Candidate(state, epoch, orInfinity(loss)) else best

    private fun heldoutLoss(state: VectorState, gate: Float): Double? = heldoutLoss(engine, rows, state, gate)

    private fun orInfinity(loss: Double?): Double = loss?.takeIf { it.isFinite() } ?: Double.POSITIVE_INFINITY
}

/** Mean log loss of the held-out rows; null if there are none. */
internal fun heldoutLoss(engine: Engine, rows: EncodedRows, state: VectorState, gate: Float): Double? {
    if (rows.heldout.isEmpty()) return null
    var total = 0.0
    for (part in rows.heldout.chunked(engine.manifest.trainBatch)) {
        val logits = engine.evaluate(state, rows.batch(part).hidden, gate)
        part.forEachIndexed { place, row -> total += logLoss(logits[place], rows.label(row)) }
    }
    return total / rows.heldout.size
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

package dccl.demo

import dccl.core.Interaction
import dccl.core.Personalizer
import dccl.core.Report
import dccl.core.timeBudget
import kotlin.math.roundToInt

/** What the two columns show: the best items by each model for the same person. */
class Columns(val everyone: List<Item>, val yours: List<Item>, val gateIsOpen: Boolean, val choices: Long) {
    /** By how many places an item of yours stands above where everyone's model has it; null: not among its best. */
    fun risen(item: Item): Int? = (everyone.indexOf(item) - yours.indexOf(item)).takeIf { item in everyone }
}

/** One person's phone: what the screens do, without Android. Not for the main thread. */
class DemoDevice(val personalizer: Personalizer, private val data: DemoData, val person: Person) {
    private val itemOf = data.items.associateBy { it.id }
    private val candidates = data.items.map { it.id }

    /** The last training of this session. */
    var report: Report? = null
        private set

    init {
        if (personalizer.historySize == 0L) personalizer.remember(person.past)
    }

    /** The best [count] items that this person has not met, by the cloud's model and by the one in use. */
    fun columns(count: Int = 20): Columns = Columns(
        everyone = best(count, gate = 0.0),
        yours = best(count, gate = null),
        gateIsOpen = personalizer.gate > 0,
        choices = personalizer.historySize
    )

    private fun best(count: Int, gate: Double?): List<Item> =
        personalizer.rank(candidates, k = count, gate = gate, excludeHistory = true).map { itemOf.getValue(it.item) }

    /** Logs a choice and learns from all so far. */
    fun choose(item: Item, liked: Boolean): Report {
        personalizer.log(item.id, if (liked) 1 else 0)
        return learn()
    }

    /** Logs the next [count] things that this person chooses, and learns from all so far. */
    fun play(count: Int = 20): Report {
        personalizer.logMany(upcoming().take(count))
        return learn()
    }

    /** Trains the vector, for two seconds at most. */
    fun learn(): Report = personalizer.personalize(shouldStop = timeBudget(seconds = 2.0)).also { report = it }

    private fun upcoming(): List<Interaction> {
        val unmet = personalizer.rank(candidates, excludeHistory = true).mapTo(HashSet()) { it.item }
        return person.future.filter { it.item in unmet }
    }

    /** The screen "inside the phone", line by line; [text] gives the app's sentences. */
    fun facts(text: (Int, Array<Any>) -> String): List<Pair<String, String>> {
        val state = personalizer.state
        val uploads = personalizer.uploads
        fun say(name: Int, vararg values: Any) = text(name, arrayOf(*values))

        fun loss(value: Double?) = value?.let { "%.4f".format(it) } ?: "-"
        return listOfNotNull(
            R.string.fact_gate to say(if (state.gate > 0) R.string.opened else R.string.closed),
            R.string.fact_cloud_loss to loss(state.evidence.cloudLoss),
            R.string.fact_personal_loss to loss(state.evidence.personalLoss),
            R.string.fact_heldout to state.evidence.heldoutSamples.toString(),
            R.string.fact_samples to state.samples.toString(),
            report?.let { R.string.fact_training to say(R.string.steps, it.steps, (1e3 * it.seconds).roundToInt()) },
            R.string.fact_uploads to state.sequence.toString(),
            R.string.fact_bytes to uploads.sumOf { it.bytesSent }.toString(),
            uploads.lastOrNull()?.let { R.string.fact_upload to say(R.string.bytes, it.status, it.content.size()) },
            R.string.fact_model to personalizer.bundle.identity.toByteArray().take(6).joinToString("") { "%02x".format(it) },
            R.string.fact_runtime to personalizer.runtime
        ).map { (name, value) -> say(name) to value }
    }
}

package dccl.core

import java.io.Closeable
import java.io.File

/** Loads a model into the app's TFLite runtime. */
fun interface SignatureRunners {
    fun open(model: File): SignatureRunner
}

/** A bundle on a runner: from a device's log to a trained vector, or to the evidence for one from elsewhere. */
internal class Learner(val bundle: Bundle, val engine: Engine) : Closeable by engine {
    /** A training from a state on, on all samples of the log; nothing is stored. */
    fun training(log: SampleLog, state: DeviceState, profile: IntArray, config: PersonalizeConfig): Personalization {
        val rows = rows(log, config)
        return Personalization(engine, encoded(rows, profile, heldout(rows, config)), config, state.current, state.anchor)
    }

    /** A vector's evidence on the newest rows, which alone are encoded, and the gate that follows, by the defaults. */
    fun weigh(log: SampleLog, current: VectorState, profile: IntArray): Pair<Evidence, Double> {
        val config = PersonalizeConfig()
        val rows = rows(log, config).let { it.only(heldout(it, config)) }
        val newest = encoded(rows, profile, BooleanArray(rows.size) { true })
        val (cloud, personal) = listOf(0f, 1f).map { heldoutLoss(engine, newest, current, it) }
        val evidence = Evidence(rows.size, cloud, personal?.takeIf { it.isFinite() })
        return evidence to decideGate(evidence, bundle.manifest.training.gateMargin.toDouble())
    }

    private fun rows(log: SampleLog, config: PersonalizeConfig): Rows {
        val negatives = config.negatives ?: bundle.manifest.training.negatives
        return encodeRows(log.read(), bundle.vocabulary, bundle.manifest.historyLength, negatives, config.seed)
    }

    private fun heldout(rows: Rows, config: PersonalizeConfig): BooleanArray =
        heldoutRows(rows.at, config.heldoutFraction ?: bundle.manifest.training.heldoutFraction)

    private fun encoded(rows: Rows, profile: IntArray, heldout: BooleanArray) =
        EncodedRows(engine.encode(rows, profile), rows.labels, bundle.manifest.trainBatch, heldout)

    companion object {
        /**
         * @throws ModelError the runtime cannot load the model.
         * @throws BundleError the model is not what its manifest says.
         */
        fun open(bundle: Bundle, runners: SignatureRunners): Learner {
            val model = bundle.model
            return try {
                requireBuiltins(model)
                load(bundle, CheckedRunner(runners.open(model)))
            } catch (error: DeviceError) {
                throw error
            } catch (error: RuntimeException) { // runtimes say in many ways that a model is none of theirs
                throw ModelError("$model: the runtime cannot load it (${error.message}); export it again", error)
            }
        }

        private fun load(bundle: Bundle, runner: CheckedRunner): Learner = try {
            Learner(bundle, Engine(runner, bundle.manifest))
        } catch (error: Throwable) {
            runner.close()
            throw error
        }
    }
}

package dccl.core

import java.io.Closeable
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/**
 * A [SignatureRunner] that is safe under threads and is given nothing that its model does not take.
 *
 * Some runtimes crash on a wrong length and all of them keep a NaN for good, so every input is checked by name, type,
 * size and finiteness before the runner is touched.
 */
class CheckedRunner(private val runner: SignatureRunner) : Closeable by runner {
    private val lock = ReentrantLock()
    val runtime: String get() = runner.runtime
    val signatures: Map<String, SignatureSpec> get() = runner.signatures

    /** Keeps other threads out, so that `set` and the calls that rely on it stay together. */
    fun <R> exclusive(block: () -> R): R = lock.withLock(block)

    /**
     * Runs a signature.
     *
     * @throws InputError the signature or an input is not what the model has; the runner was not touched.
     * @throws ModelError the runner failed.
     */
    fun call(signature: String, vararg inputs: Pair<String, Tensor>): Map<String, FloatArray> {
        val spec = signatures[signature] ?: throw InputError(unknownName("signature", signature, signatures.keys))
        check(signature, spec.inputs, inputs.toMap())
        return lock.withLock {
            try {
                runner.run(signature, inputs.toMap())
            } catch (error: RuntimeException) {
                throw ModelError("$signature: $runtime failed (${error.message}); export the model again", error)
            }
        }
    }

    private fun check(signature: String, specs: Map<String, TensorSpec>, values: Map<String, Tensor>) {
        values.keys.firstOrNull { it !in specs }?.let {
            throw InputError("$signature: ${unknownName("input", it, specs.keys)}")
        }
        val missing = specs.keys - values.keys
        if (missing.isNotEmpty()) {
            throw InputError(
                "$signature: expected the inputs ${specs.keys.joinToString()}, got none for ${missing.joinToString()}"
            )
        }
        for ((name, spec) in specs) checkValue("$signature: $name", spec, values.getValue(name))
    }

    private fun checkValue(label: String, spec: TensorSpec, value: Tensor) {
        if (value.type != spec.type) throw InputError("$label: expected ${spec.type}, got ${value.type}")
        if (value.size != spec.size) {
            throw InputError("$label: expected ${spec.size} values of shape ${spec.shape}, got ${value.size}")
        }
        if (value is Floats) {
            val wrong = value.values.indexOfFirst { !it.isFinite() }
            if (wrong >= 0) {
                throw InputError("$label: expected finite values, got ${value.values[wrong]} at position $wrong")
            }
        }
    }
}

/** 'unknown input "histroy"; did you mean "history"?', with all names where none is near. */
internal fun unknownName(kind: String, name: String, known: Collection<String>): String {
    val near = known.minByOrNull { distance(it, name) }?.takeIf { distance(it, name) <= maxOf(2, name.length / 3) }
    return "unknown $kind \"$name\"; " +
        if (near != null) "did you mean \"$near\"?" else "expected one of ${known.joinToString()}"
}

/** Levenshtein's edit distance. */
private fun distance(a: String, b: String): Int {
    var row = IntArray(b.length + 1) { it }
    for (i in 1..a.length) {
        val next = IntArray(b.length + 1).also { it[0] = i }
        for (j in 1..b.length) {
            next[j] = minOf(row[j] + 1, next[j - 1] + 1, row[j - 1] + if (a[i - 1] == b[j - 1]) 0 else 1)
        }
        row = next
    }
    return row[b.length]
}

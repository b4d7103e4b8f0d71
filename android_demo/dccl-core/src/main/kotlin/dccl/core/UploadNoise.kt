package dccl.core

import java.security.SecureRandom
import kotlin.math.sqrt

/**
 * Noise on what leaves the device: the Gaussian mechanism, each upload by itself (docs/protocol.md, "Upload").
 *
 * The vector's Euclidean norm is cut to [clipNorm], then each float gets Gaussian noise of standard deviation
 * `noiseMultiplier * clipNorm`, drawn by the system's generator. What that guarantees, `dccl-device privacy` computes.
 */
data class UploadNoise(val clipNorm: Double, val noiseMultiplier: Double) {
    init {
        for ((name, value) in listOf("clip_norm" to clipNorm, "noise_multiplier" to noiseMultiplier)) {
            if (!(value > 0 && value.isFinite())) {
                throw InputError("noise.$name: expected a finite number above 0, got $value")
            }
        }
    }

    /** A vector [K], cut and with fresh noise. */
    fun apply(vector: FloatArray): FloatArray {
        val norm = sqrt(vector.sumOf { it.toDouble() * it })
        val scale = if (norm > clipNorm) clipNorm / norm else 1.0
        val random = SecureRandom()
        return FloatArray(vector.size) {
            (scale * vector[it] + noiseMultiplier * clipNorm * random.nextGaussian()).toFloat()
        }
    }

    /** As Python writes it, so that an upload made in one language is the same one in the other. */
    override fun toString() =
        "UploadNoise(clip_norm=${shortestText(clipNorm)}, noise_multiplier=${shortestText(noiseMultiplier)})"
}

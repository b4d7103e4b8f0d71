package dccl.core

import java.math.BigDecimal
import java.math.MathContext
import java.math.RoundingMode

// The shortest decimal that reads back as the same number. The platform's own conversion is not the shortest before
// Java 19, nor on Android, and the state file must have the same bytes wherever it is written.

/** The shortest decimal of a float32: 0.7 for 0.7f, though the float is a little less. */
internal fun shortest(value: Float): BigDecimal = shortest(value.toDouble()) { it.toString().toFloat() == value }

/** A float64 as Python's `repr` and its JSON write it: 0.1, 1e-05, 123.0. */
internal fun shortestText(value: Double): String {
    if (!value.isFinite()) return value.toString() // NaN, Infinity and -Infinity in both languages' words
    if (value == 0.0) return if (1 / value > 0) "0.0" else "-0.0"
    val decimal = shortest(value) { it.toString().toDouble() == value }.stripTrailingZeros()
    val digits = decimal.unscaledValue().abs().toString()
    val exponent = digits.length - decimal.scale() - 1 // of the first digit
    val sign = if (value < 0) "-" else ""
    if (exponent in -4..15) {
        val plain = decimal.abs().toPlainString()
        return sign + if ('.' in plain) plain else "$plain.0"
    }
    val mantissa = if (digits.length == 1) digits else "${digits[0]}.${digits.substring(1)}"
    val size = kotlin.math.abs(exponent).toString().padStart(2, '0')
    return "$sign${mantissa}e${if (exponent < 0) "-" else "+"}$size"
}

private inline fun shortest(exact: Double, readsBack: (BigDecimal) -> Boolean): BigDecimal {
    for (digits in 1..16) {
        val decimal = BigDecimal(exact).round(MathContext(digits, RoundingMode.HALF_EVEN))
        if (readsBack(decimal)) return decimal
    }
    return BigDecimal(exact).round(MathContext(17, RoundingMode.HALF_EVEN))
}

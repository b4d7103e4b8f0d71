package dccl.core

import org.junit.Assert.assertEquals
import org.junit.Test

class DecimalsTest {
    @Test
    fun `doubles are written as Python's repr writes them`() {
        val expected = mapOf(
            0.0 to "0.0",
            -0.0 to "-0.0",
            1.0 to "1.0",
            0.1 to "0.1",
            -0.25 to "-0.25",
            0.0001 to "0.0001",
            0.00001 to "1e-05",
            123456789012345680.0 to "1.2345678901234568e+17",
            1e15 to "1000000000000000.0",
            1e16 to "1e+16",
            2e-3 to "0.002",
            0.6931471805599453 to "0.6931471805599453",
            5e-324 to "5e-324",
            1.7976931348623157e308 to "1.7976931348623157e+308"
        )
        for ((value, text) in expected) assertEquals(text, shortestText(value))
    }

    @Test
    fun `a float's shortest decimal is what was typed`() {
        for (typed in listOf("0.7", "0.2", "0.05", "0.333", "1E-7")) {
            assertEquals(0, typed.toBigDecimal().compareTo(shortest(typed.toFloat())))
        }
    }
}

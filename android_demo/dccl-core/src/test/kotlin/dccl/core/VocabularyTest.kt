package dccl.core

import dccl.Dccl
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class VocabularyTest {
    @Test
    fun `half a pair of surrogates is no text`() {
        val vocabulary = Vocabulary(Dccl.Vocabulary.newBuilder().addStringIds("a").build())
        vocabulary.check("item", listOf(RawId("a\uD83D\uDE00"))) // a whole one
        val error = assertThrows(InputError::class.java) { vocabulary.check("item", listOf(RawId("a\uD83D"))) }
        assertTrue(error.message!!, error.message!!.contains("half a pair of surrogates"))
    }
}

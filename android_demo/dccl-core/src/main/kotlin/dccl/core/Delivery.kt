package dccl.core

import com.google.protobuf.InvalidProtocolBufferException
import dccl.Dccl
import java.io.IOException

/** Carries a body to the cloud and brings back its answer, a serialised `dccl.Receipt`; throws IOException if it cannot. */
fun interface Transport {
    fun post(body: ByteArray): ByteArray
}

/** What became of an attempt to send: a receipt, or the reason why there is none. */
internal class Answer(val bytesSent: Int, val receipt: Dccl.Receipt?, private val problem: String) {
    /** queued, accepted, duplicate or rejected, as the outbox has it. */
    val status: String
        get() = when (receipt?.status) {
            Dccl.Receipt.Status.ACCEPTED -> "accepted"
            Dccl.Receipt.Status.DUPLICATE -> "duplicate"
            Dccl.Receipt.Status.REJECTED -> "rejected"
            else -> "queued"
        }

    val detail: String get() = if (status == "rejected") "${receipt!!.reason}: ${receipt.detail}" else problem
}

/** Sends the body of the upload of a number once, and believes only a receipt of that upload. */
internal fun deliver(body: ByteArray, sequence: Long, transport: Transport): Answer = try {
    val receipt = Dccl.Receipt.parseFrom(transport.post(body))
    // A body that the cloud could not read has no number to answer with.
    val named = receipt.sequence == sequence ||
        (receipt.status == Dccl.Receipt.Status.REJECTED && receipt.sequence == 0L)
    val known = receipt.status != Dccl.Receipt.Status.UNKNOWN && receipt.status != Dccl.Receipt.Status.UNRECOGNIZED
    if (named && known) Answer(body.size, receipt, "") else Answer(body.size, null, "no receipt of this upload came")
} catch (error: InvalidProtocolBufferException) {
    Answer(body.size, null, "the answer was not a receipt (${error.message})")
} catch (error: IOException) {
    Answer(body.size, null, error.message ?: error.javaClass.simpleName)
}

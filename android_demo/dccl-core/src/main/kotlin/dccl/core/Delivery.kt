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

/** Sends a body once. */
internal fun deliver(body: ByteArray, transport: Transport): Answer = try {
    val receipt = Dccl.Receipt.parseFrom(transport.post(body))
    val known = receipt.status != Dccl.Receipt.Status.UNKNOWN && receipt.status != Dccl.Receipt.Status.UNRECOGNIZED
    Answer(body.size, receipt, if (known) "" else "the answer was a receipt of no known status")
} catch (error: InvalidProtocolBufferException) {
    Answer(body.size, null, "the answer was not a receipt (${error.message})")
} catch (error: IOException) {
    Answer(body.size, null, error.message ?: error.javaClass.simpleName)
}

package dccl.core

import com.google.protobuf.InvalidProtocolBufferException
import dccl.Dccl
import java.io.IOException

private val BUSY = listOf(408, 425, 429) // beside all of 5xx: trying again may help

/** What became of an attempt to send: the cloud's verdict, or why there is none. */
internal class Attempt(
    val status: String, // queued, accepted, duplicate or rejected, as the outbox has it
    val detail: String, // why it was rejected, or why it still waits
    val bytesSent: Int,
    val retryAfter: Long? = null // seconds for which the server wants to be left alone
)

/** Sends the body of the upload of a number once, and believes only a receipt of that upload. */
internal fun deliver(body: ByteArray, sequence: Long, transport: Transport): Attempt {
    fun waits(problem: String, retryAfter: Long? = null) = Attempt("queued", problem, body.size, retryAfter)
    val answer = try {
        transport.post(body)
    } catch (error: IOException) {
        return waits("no answer (${error.message ?: error.javaClass.simpleName})")
    }
    if (answer.status in BUSY || answer.status >= 500) {
        return waits("the server answered ${answer.status}", answer.retryAfter)
    }
    val receipt = receiptOf(answer)?.takeIf {
        // A body that the cloud could not read has no number to answer with.
        it.sequence == sequence || (it.status == Dccl.Receipt.Status.REJECTED && it.sequence == 0L)
    }
    return when (receipt?.status) {
        Dccl.Receipt.Status.ACCEPTED -> Attempt("accepted", "", body.size)
        Dccl.Receipt.Status.DUPLICATE -> Attempt("duplicate", "", body.size)
        Dccl.Receipt.Status.REJECTED -> Attempt("rejected", reason(receipt), body.size)
        else -> waits("the server answered ${answer.status} without a receipt of this upload")
    }
}

/** The receipt in an answer; null if it holds none, such as the login page of a hotel's network. */
internal fun receiptOf(answer: Answer): Dccl.Receipt? = try {
    if (answer.contentType == PROTOBUF) Dccl.Receipt.parseFrom(answer.body) else null
} catch (_: InvalidProtocolBufferException) {
    null
}

/** Why a receipt rejects. */
internal fun reason(receipt: Dccl.Receipt): String {
    val isKnown = receipt.reason != Dccl.Reason.UNRECOGNIZED // it may be of a newer cloud
    val name = if (isKnown) receipt.reason.name else "reason ${receipt.reasonValue}"
    return if (receipt.detail.isEmpty()) name else "$name: ${receipt.detail}"
}

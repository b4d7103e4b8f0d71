package dccl.core

/** Media type of what devices and the cloud say to each other. */
internal const val PROTOBUF = "application/x-protobuf"

/** What came back from the cloud. */
class Answer(
    val status: Int, // of HTTP
    val body: ByteArray,
    val contentType: String = PROTOBUF,
    val retryAfter: Long? = null // seconds, if the server asks for a pause
)

/** Carries the body of an upload to the cloud and brings back the answer; throws IOException if none comes. */
fun interface Transport {
    fun post(body: ByteArray): Answer
}

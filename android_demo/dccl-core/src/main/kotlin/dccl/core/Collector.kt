package dccl.core

import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.MalformedURLException
import java.net.Proxy
import java.net.URL

/**
 * The collector of docs/protocol.md over HTTP: sends uploads, and more in [register], [changeKey] and [fetchBundle].
 *
 * Each call is one attempt. Redirects are not followed: what is signed or secret is for this address alone.
 *
 * @param address `https://HOST`, or `https://HOST/PREFIX` where the calls `/v1/...` are below a prefix; `http://` to this
 *   machine itself alone.
 * @param timeoutMillis milliseconds without a byte after which an attempt has failed.
 * @throws InputError the address is none of these.
 */
class Collector(address: String, private val timeoutMillis: Int = 10_000) : Transport {
    internal val address = address.trimEnd('/')
    private val isHere = hostOf(address) in LOOPBACK

    /** Sends an upload. */
    override fun post(body: ByteArray): Answer = post("/v1/vectors", body)

    /** Posts a message to a call; throws IOException if no answer comes. */
    internal fun post(call: String, body: ByteArray, headers: Map<String, String> = emptyMap()): Answer {
        val connection = open(call, headers + mapOf("Content-Type" to PROTOBUF, "Accept" to PROTOBUF))
        try {
            connection.requestMethod = "POST"
            connection.doOutput = true
            connection.setFixedLengthStreamingMode(body.size) // also so that it is never sent twice unasked
            connection.outputStream.use { it.write(body) }
            val status = status(connection)
            val stream = if (status < 400) connection.inputStream else connection.errorStream
            val content = stream?.use(::beginning) ?: ByteArray(0)
            return Answer(status, content, mediaType(connection), retryAfter(connection))
        } finally {
            connection.disconnect()
        }
    }

    /** A connection to a call, not yet used: a GET. */
    internal fun open(call: String, headers: Map<String, String>): HttpURLConnection {
        val url = URL(address + call)
        // A proxy would see what goes to this machine itself in the clear.
        val connection = (if (isHere) url.openConnection(Proxy.NO_PROXY) else url.openConnection()) as HttpURLConnection
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.connectTimeout = timeoutMillis
        connection.readTimeout = timeoutMillis
        connection.setRequestProperty("Accept-Encoding", "identity") // else Android asks for gzip: another ETag, no ranges
        headers.forEach(connection::setRequestProperty)
        return connection
    }

    internal companion object {
        private val LOOPBACK = listOf("localhost", "127.0.0.1", "[::1]")
        private const val LARGEST_ANSWER = 64 * 1024 // bytes

        /** The status of an answer; throws IOException if none comes. */
        fun status(connection: HttpURLConnection): Int =
            connection.responseCode.also { if (it < 0) throw IOException("the answer is not HTTP") }

        /** Media type of an answer, without parameters. */
        fun mediaType(connection: HttpURLConnection): String =
            connection.contentType.orEmpty().substringBefore(';').trim().lowercase()

        /** The host of an address. */
        private fun hostOf(address: String): String {
            val url = try {
                URL(address)
            } catch (_: MalformedURLException) {
                null
            }
            if (url == null || url.protocol !in listOf("http", "https") || url.host.isEmpty()) {
                throw InputError("address: expected https://HOST or https://HOST/PREFIX, got \"$address\"")
            }
            if (url.protocol == "http" && url.host !in LOOPBACK) {
                throw InputError(
                    "address: expected https, since others could read and change what travels, got \"$address\""
                )
            }
            return url.host
        }

        /** Seconds for which the server wants to be left alone, which it may say as a date; null if it does not. */
        private fun retryAfter(connection: HttpURLConnection): Long? {
            connection.getHeaderField("Retry-After")?.trim()?.toLongOrNull()?.let { return it.takeIf { it >= 0 } }
            val until = connection.getHeaderFieldDate("Retry-After", 0)
            return if (until > 0) maxOf(0, (until - System.currentTimeMillis()) / 1000) else null
        }

        private fun beginning(stream: InputStream): ByteArray {
            val content = ByteArray(LARGEST_ANSWER)
            var size = 0
            while (size < content.size) {
                val count = stream.read(content, size, content.size - size)
                if (count < 0) break
                size += count
            }
            return content.copyOf(size)
        }
    }
}

package dccl.android

import dccl.core.Transport
import java.io.IOException
import java.net.HttpURLConnection
import java.net.URL

/**
 * Posts uploads to a URL, which must be https: the body is signed, not encrypted. The cloud answers a receipt, with 200
 * or with an error's status where it rejects.
 */
class HttpTransport(url: String) : Transport {
    private val url = URL(url).also { require(it.protocol == "https") { "url: expected https, got $url" } }

    override fun post(body: ByteArray): ByteArray {
        val connection = url.openConnection() as HttpURLConnection
        try {
            connection.requestMethod = "POST"
            connection.instanceFollowRedirects = false // the upload is for this address alone
            connection.connectTimeout = TIMEOUT
            connection.readTimeout = TIMEOUT
            connection.doOutput = true
            connection.setFixedLengthStreamingMode(body.size)
            connection.setRequestProperty("Content-Type", "application/x-protobuf")
            connection.outputStream.use { it.write(body) }
            val stream = if (connection.responseCode < 400) connection.inputStream else connection.errorStream
            val answer = ByteArray(LONGEST_RECEIPT)
            var size = 0
            stream?.use {
                while (size < LONGEST_RECEIPT) {
                    val read = it.read(answer, size, LONGEST_RECEIPT - size)
                    if (read < 0) break
                    size += read
                }
            }
            if (size == 0) throw IOException("HTTP ${connection.responseCode} without a receipt")
            return answer.copyOf(size)
        } finally {
            connection.disconnect()
        }
    }

    private companion object {
        const val TIMEOUT = 30_000 // milliseconds
        const val LONGEST_RECEIPT = 64 * 1024 // bytes
    }
}

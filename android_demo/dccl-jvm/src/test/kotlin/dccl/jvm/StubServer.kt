package dccl.jvm

import java.io.ByteArrayOutputStream
import java.io.Closeable
import java.io.InputStream
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.net.SocketException
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.concurrent.thread

/** What came, header names in small letters. */
class Request(val line: String, val headers: Map<String, String>, val body: ByteArray)

/**
 * In place of a collector: answers each request with the bytes that [answer] makes of it, whatever they are, and ends the
 * connection, so that an answer may also break off.
 */
class StubServer(private val answer: (Request) -> ByteArray) : Closeable {
    private val socket = ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))
    val address = "http://127.0.0.1:${socket.localPort}"
    val seen = CopyOnWriteArrayList<Request>()

    init {
        thread(isDaemon = true) {
            try {
                while (true) socket.accept().use(::serve)
            } catch (_: SocketException) { // closed
            }
        }
    }

    override fun close() = socket.close()

    private fun serve(connection: Socket) {
        val input = connection.getInputStream()
        val request = generateSequence { line(input) }.takeWhile { it.isNotEmpty() }.toList()
        val headers = request.drop(1).associate { it.substringBefore(": ").lowercase() to it.substringAfter(": ") }
        val body = input.readNBytes(headers["content-length"]?.toInt() ?: 0)
        connection.getOutputStream().write(answer(Request(request[0], headers, body).also { seen += it }))
    }

    private fun line(input: InputStream): String {
        val line = ByteArrayOutputStream()
        while (true) {
            val byte = input.read()
            if (byte < 0 || byte == '\n'.code) return line.toString().trimEnd('\r')
            line.write(byte)
        }
    }
}

/** An answer whose body has the length that it says; cut it to let the connection break off. */
fun http(status: Int, body: ByteArray = ByteArray(0), vararg headers: Pair<String, String>): ByteArray {
    val fields = headers.asList() + ("Content-Length" to "${body.size}") + ("Connection" to "close")
    val head = fields.joinToString("", "HTTP/1.1 $status -\r\n", "\r\n") { (name, value) -> "$name: $value\r\n" }
    return head.toByteArray() + body
}

/** An answer in protobuf. */
fun http(status: Int, message: com.google.protobuf.MessageLite): ByteArray =
    http(status, message.toByteArray(), "Content-Type" to "application/x-protobuf")

/** A collector's refusal. */
fun problem(status: Int, detail: String, vararg headers: Pair<String, String>): ByteArray =
    http(status, "{\"detail\":\"$detail\"}".toByteArray(), "Content-Type" to "application/problem+json", *headers)

/** What a hotel's network answers to everything. */
val loginPage = http(200, "<html>".toByteArray(), "Content-Type" to "text/html; charset=utf-8")

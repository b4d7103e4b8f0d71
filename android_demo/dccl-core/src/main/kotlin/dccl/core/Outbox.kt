package dccl.core

import com.google.protobuf.ByteString

/** An upload and what became of it. */
data class Queued(
    val sequence: Long,
    val content: ByteString, // a serialised VectorUpload; signed when it is sent
    val status: String, // queued, accepted, duplicate, rejected or superseded
    val detail: String, // why it was rejected, or why it still waits
    val attempts: Int,
    val bytesSent: Long // in all attempts
)

/**
 * The uploads of a device, on the disk from when they are made until the cloud's receipt, however long that takes.
 *
 * Of a bundle only the newest vector matters, so one that was not yet answered gives way to the next of the same
 * bundle. They go in the order of their numbers, since the cloud takes no number below one that it has seen.
 */
internal class Outbox(private val database: SqlDatabase) {
    fun add(sequence: Long, bundle: ByteString, content: ByteString) {
        database.transaction {
            val superseded = "UPDATE uploads SET status = 'superseded' WHERE status = 'queued' AND bundle = ?"
            database.execute(superseded, bundle.toByteArray())
            val values = arrayOf(sequence, bundle.toByteArray(), content.toByteArray())
            database.execute("INSERT INTO uploads VALUES (?, ?, ?, 'queued', '', 0, 0)", *values)
            database.execute("DELETE FROM uploads WHERE status <> 'queued' AND sequence <= ?", sequence - KEPT)
        }
    }

    /** All uploads that are remembered, in the order in which they were made. */
    fun all(): List<Queued> =
        database.query("SELECT sequence, content, status, detail, attempts, bytes FROM uploads ORDER BY sequence").map {
            Queued(
                it[0] as Long,
                ByteString.copyFrom(it[1] as ByteArray),
                it[2] as String,
                it[3] as String,
                (it[4] as Long).toInt(),
                it[5] as Long
            )
        }

    /** Notes what the cloud answered, or why it did not. */
    fun answered(sequence: Long, answer: Answer) = database.execute(
        "UPDATE uploads SET status = ?, detail = ?, attempts = attempts + 1, bytes = bytes + ? WHERE sequence = ?",
        answer.status,
        answer.detail,
        answer.bytesSent.toLong(),
        sequence
    )

    private companion object {
        const val KEPT = 50
    }
}

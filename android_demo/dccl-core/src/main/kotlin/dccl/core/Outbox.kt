package dccl.core

import com.google.protobuf.ByteString
import dccl.Dccl

/** An upload and what became of it. */
data class Queued(
    val sequence: Long,
    val content: ByteString, // a serialised VectorUpload; signed when it is sent
    val status: String, // queued, accepted, duplicate, rejected or superseded
    val detail: String, // why it was rejected, or why it still waits
    val attempts: Int,
    val bytesSent: Long, // in all attempts
    val digest: ByteString // of what it was made from
)

/**
 * The uploads of a device, on the disk from when they are made until the cloud's receipt, however long that takes.
 *
 * Of a bundle only the newest vector matters, so one that was not yet answered gives way to the next of the same
 * bundle; of at most four bundles one each waits. They go in the order of their numbers, since the cloud takes no
 * number below one that it has seen.
 */
internal class Outbox(private val database: SqlDatabase) {
    fun add(sequence: Long, bundle: ByteString, content: ByteString, digest: ByteString) {
        database.transaction {
            val superseded = "UPDATE uploads SET status = 'superseded' WHERE status = 'queued'"
            database.execute("$superseded AND bundle = ?", bundle.toByteArray())
            database.execute(
                "$superseded AND sequence NOT IN " +
                    "(SELECT sequence FROM uploads WHERE status = 'queued' ORDER BY sequence DESC LIMIT ?)",
                BUNDLES - 1
            )
            val values = arrayOf(sequence, bundle.toByteArray(), content.toByteArray(), digest.toByteArray())
            database.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, 'queued', '', 0, 0, ?)", *values, now())
            database.execute("DELETE FROM uploads WHERE status <> 'queued' AND sequence <= ?", sequence - KEPT)
        }
    }

    /** All uploads that are remembered, in the order in which they were made. */
    fun all(): List<Queued> = database.query("SELECT $COLUMNS FROM uploads ORDER BY sequence").map {
        Queued(
            written(it[0]),
            ByteString.copyFrom(written<ByteArray>(it[1])),
            written(it[2]),
            written(it[3]),
            written<Long>(it[4]).toInt(),
            written(it[5]),
            ByteString.copyFrom(written<ByteArray>(it[6]))
        )
    }

    /** The first that is to be sent, if any waits. */
    fun next(): Queued? = all().firstOrNull { it.status == QUEUED }

    /** Takes back what waits without noise, such as the upload of the bundle before: it is never sent. */
    fun withdrawExact() = database.transaction {
        for (one in all().filter { it.status == QUEUED && Dccl.VectorUpload.parseFrom(it.content).hasEvidence() }) {
            database.execute(
                "UPDATE uploads SET status = 'superseded', detail = ? WHERE sequence = ?",
                "it was made without noise, which every upload has by now; it is not sent",
                one.sequence
            )
        }
    }

    /** Notes what the cloud answered, or why it did not; what meanwhile gave way to a newer upload waits no more. */
    fun attempted(sequence: Long, attempt: Attempt) = database.transaction {
        database.execute(
            "UPDATE uploads SET detail = ?, attempts = attempts + 1, bytes = bytes + ? WHERE sequence = ?",
            attempt.detail,
            attempt.bytesSent.toLong(),
            sequence
        )
        if (attempt.status != QUEUED) {
            database.execute("UPDATE uploads SET status = ? WHERE sequence = ?", attempt.status, sequence)
        }
        attempt.retryAfter?.let(::hold)
    }

    /** Whether the server has asked for a pause that is not over, at most [LONGEST_HOLD]: a clock may be set back. */
    val isHeld: Boolean get() = database.counter(HOLD) - now() in 1..LONGEST_HOLD

    /** Sends nothing for so many seconds, also after a restart; a day at most, whatever the cloud asks. */
    private fun hold(seconds: Long) = database.execute(
        "INSERT OR REPLACE INTO counters VALUES (?, ?)", // in place of a later end, which a clock that was ahead has left
        HOLD,
        now() + minOf(seconds, LONGEST_HOLD)
    )

    private fun now(): Long = System.currentTimeMillis() / 1000

    private companion object {
        const val QUEUED = "queued"
        const val BUNDLES = 4L // uploads that wait at once, one a bundle
        const val KEPT = 50 // uploads that are remembered once they are settled
        const val HOLD = "upload_not_before" // a counter: seconds since 1970
        const val LONGEST_HOLD = 24 * 3600L // seconds
        const val COLUMNS = "sequence, content, status, detail, attempts, bytes, digest"
    }
}

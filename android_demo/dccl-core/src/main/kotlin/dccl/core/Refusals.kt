package dccl.core

import com.google.protobuf.ByteString

/**
 * The bundles that were refused here, with the runtime that refused them: what is of no use is not tried for ever, and
 * is tried again once the app brings another runtime.
 */
internal class Refusals(private val database: SqlDatabase) {
    /** What is said of the bundles that are not tried again on this runtime, by identity. */
    fun on(runtime: String): Map<ByteString, String> {
        val query = "SELECT bundle, reason FROM refused WHERE runtime IN (?, ?)"
        return database.query(query, runtime, EVERYWHERE).associate { (bundle, reason) ->
            val identity = written<ByteArray>(bundle)
            val name = identity.hex().take(12)
            ByteString.copyFrom(identity) to
                "bundle: $name was refused before ($reason); upgrade(retry = true) tries it again"
        }
    }

    /** Identities of all that any runtime has refused. */
    fun all(): Set<ByteString> =
        database.query("SELECT bundle FROM refused").mapTo(HashSet()) { ByteString.copyFrom(written<ByteArray>(it[0])) }

    fun add(identity: ByteString, runtime: String, reason: String) = database.execute(
        "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)",
        identity.toByteArray(),
        runtime,
        reason,
        System.currentTimeMillis() / 1000
    )

    /** Forgets that a bundle was refused, since it is in use. */
    fun forgive(identity: ByteString) =
        database.execute("DELETE FROM refused WHERE bundle = ?", identity.toByteArray())

    companion object {
        const val EVERYWHERE = "any" // in place of a runtime
    }
}

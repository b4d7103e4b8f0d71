package dccl.core

import com.google.protobuf.ByteString
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.net.HttpURLConnection

private const val PROBLEM = "application/problem+json" // how a collector says no
private val PART = Regex("([0-9a-f]{64})\\.part")

/** [fetchBundle] for a device: null if it has the newest bundle that the collector has for it. */
fun Collector.fetchBundle(device: Personalizer, folder: File): Bundle? =
    fetchBundle(folder, device.deviceId, device.bundle.identity, device.refused)

/**
 * Fetches the newest bundle that the collector has for a device, unpacks and verifies it; [Personalizer.upgrade] then
 * takes it, and its folder may go.
 *
 * One attempt: what has arrived when a connection breaks stays in [folder], and the next call goes on from there. One
 * call at a time, and off the main thread.
 *
 * @param folder for downloads and nothing else; made if missing. It may vanish between two calls, as caches do.
 * @param deviceId decides whether the device is among the first of a staged rollout; null: only what is for all.
 * @param holding identity of the bundle in use; empty: none.
 * @param refused bundles that are not to be downloaded, by identity, and why: [Personalizer.refused].
 * @return null if [holding] is the newest one, or there is none yet.
 * @throws InputError [holding] is no identity.
 * @throws BundleError what is offered is one of [refused], or what came is not the bundle that was offered.
 * @throws DownloadError no answer, another answer, or the connection broke off; call again to go on.
 * @throws StorageError the folder cannot be written.
 */
fun Collector.fetchBundle(
    folder: File,
    deviceId: String? = null,
    holding: ByteString = ByteString.EMPTY,
    refused: Map<ByteString, String> = emptyMap()
): Bundle? = fetchBundle(folder, deviceId, holding, refused, Bundle.LARGEST)

internal fun Collector.fetchBundle(
    folder: File,
    deviceId: String?,
    holding: ByteString,
    refused: Map<ByteString, String>,
    largest: Long
): Bundle? {
    if (holding.size() !in listOf(0, 32)) {
        throw InputError("holding: expected the 32 bytes of a bundle's identity or none, got ${holding.size()} bytes")
    }
    if (!folder.isDirectory && !folder.mkdirs()) {
        throw StorageError("$folder: cannot be made; free some space or use another folder")
    }
    return try {
        Download(this, folder, refused, largest).whole(deviceId, holding)?.let(::unpack)
    } catch (error: IOException) {
        throw DownloadError("$address: the bundle did not arrive (${error.message}); call again to go on", error)
    }
}

/** A download's way to a file `IDENTITY.part` in a folder. */
private class Download(
    private val collector: Collector,
    private val folder: File,
    private val refused: Map<ByteString, String>,
    private val largest: Long
) {
    private val begun = parts().maxByOrNull { it.lastModified() }

    /** The whole file; null if there is nothing new. */
    fun whole(deviceId: String?, holding: ByteString): File? {
        val headers = LinkedHashMap<String, String>()
        if (deviceId != null) headers["Dccl-Device-Id"] = percentEncoded(deviceId)
        if (!holding.isEmpty) headers["If-None-Match"] = "\"${holding.toByteArray().hex()}\""
        if (begun != null) {
            headers["Range"] = "bytes=${begun.length()}-"
            headers["If-Range"] = "\"${identity(begun)}\""
        }
        val answer = collector.open("/v1/bundle", headers)
        try {
            return when (Collector.status(answer)) {
                200, 206 -> received(answer)
                304 -> null
                404 -> if (Collector.mediaType(answer) == PROBLEM) null else throw unexpected(answer, "a collector")
                416 -> begunIfWhole(answer)
                else -> throw unexpected(answer, "a bundle")
            }
        } finally {
            answer.disconnect()
        }
    }

    /** Writes the body to the file of its bundle, which is then whole. */
    private fun received(answer: HttpURLConnection): File {
        val identity = answer.getHeaderField("ETag").orEmpty().trim('"')
        val part = File(folder, "$identity.part")
        if (!PART.matches(part.name)) {
            throw DownloadError("ETag: expected a bundle's identity, got \"$identity\"; is this a collector's address?")
        }
        checkWanted(identity)
        val goesOn = answer.responseCode == 206
        if (goesOn && part != begun) throw unexpected(answer, "HTTP 200")
        parts().filter { it != part }.forEach(::erase) // of bundles that are no longer the newest
        copy(answer, part, goesOn)
        return part
    }

    /** Throws IOException where the connection breaks off. */
    private fun copy(answer: HttpURLConnection, part: File, goesOn: Boolean) {
        storing(part) { FileOutputStream(part, goesOn) }.use { file ->
            val block = ByteArray(1 shl 16)
            val stream = answer.inputStream
            while (true) {
                val count = stream.read(block)
                if (count < 0) break
                storing(part) { file.write(block, 0, count) }
                if (part.length() > largest) {
                    erase(part)
                    throw DownloadError(
                        "${collector.address}: expected a bundle of at most $largest bytes; is this a collector's address?"
                    )
                }
            }
        }
    }

    private fun <R> storing(part: File, write: () -> R): R = try {
        write()
    } catch (error: IOException) {
        throw StorageError("$part: cannot be written (${error.message}); free some space, try again", error)
    }

    /** What has arrived before, if the answer says that there is no more of it; else it is no beginning of anything. */
    private fun begunIfWhole(answer: HttpURLConnection): File {
        if (begun != null && answer.getHeaderField("Content-Range") == "bytes */${begun.length()}") {
            return begun.also { checkWanted(identity(it)) }
        }
        begun?.let(::erase)
        throw unexpected(answer, "a bundle")
    }

    private fun unexpected(answer: HttpURLConnection, expected: String) = DownloadError(
        "${collector.address}: expected $expected, got HTTP ${answer.responseCode}; call again later, if this is a " +
            "collector's address"
    )

    private fun checkWanted(identity: String) {
        refused[ByteString.copyFrom(unhex(identity))]?.let { throw BundleError(it) }
    }

    private fun parts() = folder.listFiles { file -> PART.matches(file.name) }.orEmpty().asList()
}

private fun identity(part: File): String = PART.matchEntire(part.name)!!.groupValues[1]

/** The bundle in a file that has arrived, which then goes; one that could not be unpacked for lack of room stays. */
private fun unpack(part: File): Bundle {
    val bundle = try {
        Bundle.unpack(part.inputStream(), File(part.parentFile, "bundle"))
    } catch (error: BundleError) {
        erase(part) // the next call begins anew
        throw error
    }
    erase(part)
    val (expected, got) = identity(part) to bundle.identity.toByteArray().hex()
    if (got != expected) {
        erase(bundle.folder)
        throw BundleError("bundle: expected $expected as its ETag says, got $got; fetch it again")
    }
    return bundle
}

/** A device's id as it stands in a header. */
private fun percentEncoded(deviceId: String): String = deviceId.toByteArray().joinToString("") {
    val char = it.toInt().toChar()
    if (char in ' '..'~' && char != '%') "$char" else "%%%02X".format(it)
}

package dccl.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException

/**
 * Writes a file beside [file], forces it to the disk and renames it over [file]: a crash at any moment leaves the old
 * or the new one. Only the owner may read it.
 *
 * @throws StorageError that failed; what was there is as it was.
 */
internal fun replaceFile(file: File, content: ByteArray) {
    val temporary = File(file.path + ".new")
    try {
        FileOutputStream(temporary).use { stream ->
            temporary.setReadable(false, false)
            temporary.setReadable(true, true)
            stream.write(content)
            stream.fd.sync()
        }
    } catch (error: IOException) {
        throw StorageError("$file: cannot be written (${error.message}); the previous one is intact", error)
    }
    // On Linux and Android this is rename(2), which replaces in one step.
    if (!temporary.renameTo(file)) throw StorageError("$file: cannot be replaced; the previous one is intact")
}

/** The content, or null if there is no such file. Throws StorageError if it cannot be read. */
internal fun readFile(file: File): ByteArray? = try {
    if (file.exists()) file.readBytes() else null
} catch (error: IOException) {
    throw StorageError("$file: cannot be read (${error.message}); close other apps that use it, or restart", error)
}

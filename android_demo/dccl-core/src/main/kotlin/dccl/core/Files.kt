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
            ownersAlone(temporary)
            stream.write(content)
            stream.fd.sync()
        }
    } catch (error: IOException) {
        throw StorageError("$file: cannot be written (${error.message}); the previous one is intact", error)
    }
    // On Linux and Android this is rename(2), which replaces in one step.
    if (!temporary.renameTo(file)) throw StorageError("$file: cannot be replaced; the previous one is intact")
}

/** Lets nobody but the owner read, write or enter; on Android the system does, elsewhere it is needed. */
internal fun ownersAlone(file: File) {
    file.setReadable(false, false)
    file.setReadable(true, true)
    file.setWritable(false, false)
    file.setWritable(true, true)
    if (file.isDirectory) {
        file.setExecutable(false, false)
        file.setExecutable(true, true)
    }
}

/** Makes a device's folder, if it is missing, for its owner alone. Throws StorageError. */
internal fun makeStateDir(folder: File) {
    if (folder.isDirectory) return
    if (!folder.mkdirs()) {
        throw StorageError("$folder: cannot be used as a state folder; use one that the app may write to")
    }
    ownersAlone(folder)
}

/** Removes a file, or a folder with all that is in it. Throws StorageError if something stays. */
internal fun erase(file: File) {
    if (!file.deleteRecursively()) throw StorageError("$file: cannot be erased; close what uses it and try again")
}

/** The content, or null if there is no such file. Throws StorageError if it cannot be read. */
internal fun readFile(file: File): ByteArray? = try {
    if (file.exists()) file.readBytes() else null
} catch (error: IOException) {
    throw StorageError("$file: cannot be read (${error.message}); close other apps that use it, or restart", error)
}

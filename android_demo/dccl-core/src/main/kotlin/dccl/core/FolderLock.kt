package dccl.core

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.channels.FileChannel

/**
 * The lock of a state folder, which one object of one process holds; the system drops it when the process ends.
 *
 * @throws StateError another object or process holds it.
 * @throws StorageError it cannot be made.
 */
internal class FolderLock(folder: File) : Closeable {
    private val name: File
    private val channel: FileChannel

    init {
        try {
            name = folder.canonicalFile
            // Before the file is touched: closing any channel of it would drop the lock that this process has on it.
            val free = synchronized(held) { held.add(name) }
            if (!free) throw heldBy(folder)
            channel = try {
                open(folder)
            } catch (error: Throwable) {
                release()
                throw error
            }
        } catch (error: IOException) {
            throw StorageError("$folder: cannot be used as a state folder (${error.message}); use another one", error)
        }
    }

    val isOpen: Boolean get() = channel.isOpen

    override fun close() {
        if (!channel.isOpen) return // the folder may be another object's by now
        channel.close()
        release()
    }

    private fun open(folder: File): FileChannel {
        val channel = RandomAccessFile(File(folder, "lock"), "rw").channel
        try {
            channel.tryLock() ?: throw heldBy(folder)
        } catch (error: Throwable) {
            channel.close()
            throw error
        }
        return channel
    }

    private fun release() {
        synchronized(held) { held.remove(name) }
    }

    private fun heldBy(folder: File) =
        StateError("$folder: another device object or process has this state folder open; close it first")

    private companion object {
        val held = HashSet<File>() // by this process
    }
}

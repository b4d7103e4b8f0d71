package dccl.core

import com.google.protobuf.ByteString
import java.io.File

/**
 * The bundles that a device keeps: its own copies, so that a folder of downloads may vanish.
 *
 *     bundles/IDENTITY/          the five files of a bundle, IDENTITY in hexadecimal
 *     bundles/IDENTITY/state.bin the device's state when it left this bundle for another
 */
internal class BundleStore(private val folder: File) {
    operator fun contains(identity: ByteString): Boolean = !identity.isEmpty && path(identity).isDirectory

    /** A kept bundle, verified anew. Throws BundleError if it is not kept, or damaged. */
    fun open(identity: ByteString): Bundle {
        val bundle = try {
            Bundle.open(path(identity))
        } catch (error: BundleError) {
            throw BundleError("${error.message}; $GIVE", error.cause)
        }
        if (bundle.identity != identity) { // no hash but this one covers the manifest
            val (expected, got) = listOf(identity, bundle.identity).map { it.toByteArray().hex() }
            throw BundleError("${bundle.folder}/manifest.pb: expected SHA-256 $expected, got $got; $GIVE")
        }
        return bundle
    }

    /** Copies a bundle in, unless an undamaged copy is kept. Throws as [Bundle.copy] does. */
    fun adopt(bundle: Bundle): Bundle = try {
        open(bundle.identity)
    } catch (_: BundleError) {
        Bundle.copy(bundle, path(bundle.identity))
    }

    /** Keeps the state that a device has in its bundle, before it goes over to another. Throws StorageError. */
    fun leave(state: DeviceState) {
        if (state.bundle in this) replaceFile(stateFile(state.bundle), state.toBytes())
    }

    /** The state that the device had in a bundle when it left it. Throws StateError if it is not there, or damaged. */
    fun left(identity: ByteString): DeviceState {
        val state = if (identity in this) readFile(stateFile(identity))?.let(DeviceState::fromBytes) else null
        if (state == null || state.bundle != identity) {
            val got = identity.toByteArray().hex().take(12).ifEmpty { "none" }
            throw StateError(
                "rollback: expected the bundle before this one among those kept, got $got; a device keeps one, and " +
                    "none once it has rolled back"
            )
        }
        return state
    }

    /** Deletes the states that [leave] kept, and what an interrupted write left of one. Throws StorageError. */
    fun forgetStates() = folder.listFiles().orEmpty()
        .flatMap { bundle -> bundle.listFiles { file -> file.name.startsWith(STATE) }.orEmpty().asList() }
        .forEach(::erase)

    /** Identities of the bundles kept, the one that came last first. */
    fun newest(): List<ByteString> = folder.listFiles { file -> file.name.matches(IDENTITY) }.orEmpty()
        .sortedByDescending { File(it, "manifest.pb").lastModified() }
        .map { ByteString.copyFrom(unhex(it.name)) }

    /** Removes all but these, and what an interrupted copy left. What cannot be removed waits for next time. */
    fun keep(identities: List<ByteString>) {
        val names = identities.map { path(it).name }
        folder.listFiles { file -> file.name !in names }.orEmpty().forEach { it.deleteRecursively() }
    }

    private fun path(identity: ByteString) = File(folder, identity.toByteArray().hex())

    private fun stateFile(identity: ByteString) = File(path(identity), STATE)

    private companion object {
        const val STATE = "state.bin"
        val IDENTITY = Regex("[0-9a-f]{64}")
        const val GIVE = "give the device its bundle again, to Personalizer.open or upgrade"
    }
}

package dccl.core

import com.google.protobuf.ByteString
import com.google.protobuf.InvalidProtocolBufferException
import dccl.Dccl
import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.io.InputStream
import java.io.RandomAccessFile
import java.security.MessageDigest
import java.util.zip.ZipInputStream

/**
 * What the cloud ships to every phone, in a folder, verified (docs/protocol.md): no byte of a file is used before its
 * SHA-256 agrees with the manifest. Made by [Bundle.open].
 */
class Bundle private constructor(
    val folder: File,
    /** 32 bytes: SHA-256 of manifest.pb. */
    val identity: ByteString,
    val manifest: Dccl.Manifest,
    val vocabulary: Vocabulary,
    private val goldenBytes: ByteArray,
    private val certificateBytes: ByteArray
) {
    /**
     * The model's file, verified again this moment; the runtime may map it, so it must stay as it is.
     *
     * @throws BundleError it is no longer what it was when the bundle was opened.
     */
    val model: File
        get() = File(folder, MODEL).also { checkHash(it.path, sha256(it), manifest.modelSha256) }

    /** Calls to replay on a fresh runner. */
    val goldens: Dccl.Goldens by lazy { parse("goldens.pb") { Dccl.Goldens.parseFrom(goldenBytes) } }

    /** certificate.json, parsed. Throws BundleError if it is not JSON. */
    internal val certificate: Any?
        get() = try {
            Json.read(String(certificateBytes))
        } catch (error: IllegalArgumentException) {
            throw BundleError("certificate.json: not JSON (${error.message}); export the bundle again", error)
        }

    companion object {
        private const val SCHEMA = 1
        internal const val LARGEST = 1L shl 30 // bytes of all files, and of a download
        private val PROTOCOLS = listOf("next", "liked")
        private const val MANIFEST = "manifest.pb"
        private const val MODEL = "model.tflite"
        private val FILES = listOf(MANIFEST, MODEL, "vocabulary.pb", "certificate.json", "goldens.pb")

        /**
         * Reads and verifies a folder.
         *
         * @throws BundleError it is absent, a file is missing, damaged or does not agree with its hash, or the schema
         *   is one that this version does not know.
         */
        fun open(folder: File): Bundle {
            val missing = FILES.filterNot { File(folder, it).isFile }
            if (missing.isNotEmpty()) {
                throw BundleError(
                    "bundle: expected ${FILES.joinToString()} in $folder, got none of ${missing.joinToString()}"
                )
            }
            val bytes = read(File(folder, MANIFEST))
            val manifest = parse(MANIFEST) { Dccl.Manifest.parseFrom(bytes) }
            check(manifest)
            checkHash("$folder/$MODEL", sha256(File(folder, MODEL)), manifest.modelSha256)
            fun verified(name: String, expected: ByteString) =
                read(File(folder, name)).also { checkHash("$folder/$name", sha256(it), expected) }
            val certificate = verified("certificate.json", manifest.certificateSha256)
            val goldens = verified("goldens.pb", manifest.goldensSha256)
            val items = verified("vocabulary.pb", manifest.vocabularySha256)
            val vocabulary =
                Vocabulary(parse("vocabulary.pb") { Dccl.Vocabulary.parseFrom(items) }, manifest.profileList)
            if (vocabulary.size != manifest.items) {
                throw BundleError(
                    "vocabulary.pb: expected ${manifest.items} items, got ${vocabulary.size}; export the bundle again"
                )
            }
            return Bundle(folder, ByteString.copyFrom(sha256(bytes)), manifest, vocabulary, goldens, certificate)
        }

        /**
         * Unpacks a bundle's zip, as it came from the network or the app's assets, into a new folder and verifies it
         * there; the folder appears whole or not at all. A device copies what it takes, so it may go afterwards.
         *
         * @throws BundleError as [open] does, and if the stream breaks off, is not a zip or holds more than 1 GiB.
         * @throws StorageError the folder cannot be written.
         */
        fun unpack(zip: InputStream, folder: File): Bundle = unpack(zip, folder, LARGEST)

        internal fun unpack(zip: InputStream, folder: File, largest: Long): Bundle = make(folder) { fresh ->
            ZipInputStream(zip).use { archive ->
                var left = largest
                val block = ByteArray(1 shl 16)
                while (true) {
                    val entry = arriving { archive.nextEntry } ?: break
                    val file = if (entry.name in FILES) File(fresh, entry.name).outputStream() else null
                    file.use {
                        while (true) { // also through files that are not kept: they would be skipped as slowly
                            val count = arriving { archive.read(block) }.takeIf { it >= 0 } ?: break
                            left -= count
                            if (left < 0) {
                                throw BundleError("bundle: expected at most $largest bytes unpacked; fetch it again")
                            }
                            it?.write(block, 0, count)
                        }
                    }
                }
            }
        }

        /** What a stream gives: where it breaks off or makes no sense, the disk is not to blame. */
        private fun <R> arriving(read: () -> R): R = try {
            read()
        } catch (error: IOException) {
            throw BundleError("bundle: not a whole zip (${error.message}); fetch it again", error)
        } catch (error: IllegalArgumentException) { // a name that is not UTF-8, on older Javas
            throw BundleError("bundle: not a whole zip (${error.message}); fetch it again", error)
        }

        /**
         * Copies a bundle into a new folder, which appears whole or not at all.
         *
         * @throws BundleError its files are no longer what they were when it was opened.
         * @throws StorageError the folder cannot be written.
         */
        internal fun copy(bundle: Bundle, folder: File): Bundle = make(folder) { fresh ->
            FILES.forEach { File(bundle.folder, it).copyTo(File(fresh, it)) }
            checkHash("${bundle.folder}/$MANIFEST", sha256(File(fresh, MANIFEST)), bundle.identity)
        }

        private fun make(folder: File, fill: (File) -> Unit): Bundle {
            val fresh = File(folder.path + ".new")
            fresh.deleteRecursively()
            try {
                if (!fresh.mkdirs()) throw StorageError("$fresh: cannot be made; free some space or use another folder")
                fill(fresh)
                fresh.listFiles().orEmpty().forEach { file -> RandomAccessFile(file, "rw").use { it.fd.sync() } }
                open(fresh)
                folder.deleteRecursively()
                if (!fresh.renameTo(folder)) throw StorageError("$folder: cannot be written; use another folder")
                return open(folder)
            } catch (error: IOException) {
                throw StorageError("$folder: cannot be written (${error.message}); what was there is intact", error)
            } finally {
                fresh.deleteRecursively()
            }
        }

        private fun read(file: File): ByteArray = try {
            file.readBytes()
        } catch (error: IOException) {
            throw BundleError("$file: cannot be read (${error.message}); fetch the bundle again", error)
        }

        private fun sha256(content: ByteArray): ByteArray = MessageDigest.getInstance("SHA-256").digest(content)

        private fun sha256(file: File): ByteArray = try {
            val digest = MessageDigest.getInstance("SHA-256")
            val block = ByteArray(1 shl 16)
            FileInputStream(file).use { stream ->
                generateSequence { stream.read(block).takeIf { it >= 0 } }.forEach { digest.update(block, 0, it) }
            }
            digest.digest()
        } catch (error: IOException) {
            throw BundleError("$file: cannot be read (${error.message}); fetch the bundle again", error)
        }

        private fun checkHash(name: String, got: ByteArray, expected: ByteString) {
            if (!MessageDigest.isEqual(got, expected.toByteArray())) {
                val wanted = expected.toByteArray().hex().ifEmpty { "(none)" }
                throw BundleError(
                    "$name: expected SHA-256 $wanted as in the manifest, got ${got.hex()}; the file was damaged or " +
                        "replaced, fetch the bundle again"
                )
            }
        }

        private fun <M> parse(name: String, read: () -> M): M = try {
            read()
        } catch (error: InvalidProtocolBufferException) {
            throw BundleError(
                "$name: not a protobuf message of this toolkit (${error.message}); fetch the bundle again",
                error
            )
        }

        private fun check(manifest: Dccl.Manifest) {
            if (manifest.schema != SCHEMA) {
                throw BundleError(
                    "$MANIFEST: expected schema $SCHEMA, got ${manifest.schema.toUInt()}; " +
                        "use a version of this library that knows it, or fetch the bundle again"
                )
            }
            val sizes = mapOf(
                "metapatch_length" to manifest.metapatchLength,
                "history_length" to manifest.historyLength,
                "candidates" to manifest.candidates,
                "train_batch" to manifest.trainBatch,
                "items" to manifest.items,
                "encoded_width" to manifest.encodedWidth
            )
            for ((name, value) in sizes) {
                if (value !in 1 until Int.MAX_VALUE) {
                    throw BundleError(
                        "$MANIFEST: expected $name of at least 1, got ${value.toUInt()}; export the bundle again"
                    )
                }
            }
            if (manifest.profileCount == 0) {
                throw BundleError("$MANIFEST: expected at least one profile field, got none; export the bundle again")
            }
            refuseRepeated("profile field", manifest.profileList.map { it.name })
            for (field in manifest.profileList) {
                refuseRepeated("value of the profile field \"${field.name}\"", field.valuesList)
            }
            if (manifest.protocol !in PROTOCOLS) {
                throw BundleError(
                    "$MANIFEST: expected the protocol ${PROTOCOLS.joinToString(" or ")}, got " +
                        "\"${manifest.protocol}\"; use a version of this library that knows it"
                )
            }
            val training = manifest.training
            val sound = training.optimizer in listOf("adam", "sgd") &&
                training.learningRate.let { it > 0 && it.isFinite() } &&
                training.pull.let { it >= 0 && it.isFinite() } &&
                training.epochs > 0 &&
                training.negatives >= 0 && // an unsigned number beyond all use is negative here
                training.heldoutFraction.let { it >= 0 && it < 1 } &&
                training.gateMargin.isFinite()
            if (!sound) {
                throw BundleError(
                    "$MANIFEST: expected training by adam or sgd, a positive learning_rate and epochs, a pull of at " +
                        "least 0, a heldout_fraction in [0, 1), a finite gate_margin and fewer than 2^31 negatives, " +
                        "got ${training.optimizer}, ${training.learningRate}, ${training.epochs}, ${training.pull}, " +
                        "${training.heldoutFraction}, ${training.gateMargin}, ${training.negatives.toUInt()}; " +
                        "export the bundle again"
                )
            }
        }

        /** A profile tells names alone, so of two that are equal one would be lost. */
        private fun refuseRepeated(what: String, names: List<String>) {
            val seen = HashSet<String>()
            val twice = names.firstOrNull { !seen.add(it) } ?: return
            throw BundleError("$MANIFEST: expected each $what once, got \"$twice\" again; export the bundle again")
        }
    }
}

internal fun ByteArray.hex(): String = joinToString("") { "%02x".format(it) }

/** @throws IllegalArgumentException the text is not hexadecimal. */
internal fun unhex(text: String): ByteArray {
    require(text.length % 2 == 0) { "an odd number of hexadecimal digits" }
    return ByteArray(text.length / 2) { text.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
}

package dccl.jvm

import com.google.protobuf.ByteString
import dccl.Dccl
import dccl.core.Bundle
import dccl.core.CheckedRunner
import dccl.core.Collector
import dccl.core.Interaction
import dccl.core.Personalizer
import dccl.core.RawId
import dccl.core.SignatureRunners
import dccl.core.SqlDatabases
import dccl.core.mix64
import java.io.File
import java.nio.file.Path
import java.security.MessageDigest
import org.junit.Assume

/** What the tests run on. System properties say where it is; a test without it is skipped. */
object Fixtures {
    /** K = 4, T = 5, C = 8, B = 4, V = 20 with raw ids 101..120, one profile field; see tests/device/tiny_bundle. */
    val tinyBundle: File get() = File(property("dccl.repository"), "tests/device/tiny_bundle")

    /** What `python -m tests.android.exchange` wrote. */
    val exchange: File get() = File(property("dccl.exchange"))

    /** Address of the collector of which `python -m tests.android.exchange` wrote the data. */
    val collector get() = Collector(property("dccl.collector"))

    /** Where to put what Python then reads. */
    val kotlin: File get() = File(exchange, "kotlin")

    val runners get() = Path.of(property("dccl.litert")).let { library ->
        SignatureRunners { LiteRtRunner(library, it) }
    }
    val databases = SqlDatabases(::JdbcDatabase)
    val key = ByteArray(32) { it.toByte() }

    fun bundle(): Bundle = Bundle.open(tinyBundle)

    fun runner(): CheckedRunner = CheckedRunner(runners.open(bundle().model))

    fun device(folder: File, bundle: Bundle = bundle()): Personalizer =
        Personalizer.open(folder, bundle, runners, databases, "d1", key, mapOf("age" to "old"))

    /** The interactions of tests/android/exchange.py. */
    fun interactions(count: Int = 60): List<Interaction> = List(count) { number ->
        val hash = mix64(number.toULong())
        val item = 101 + (hash % 22u).toInt()
        val skipped = if (number % 3 == 0) listOf(101 + (item - 100) % 20, 101 + (item - 97) % 20) else emptyList()
        Interaction(RawId(item), (hash shr 8 and 1u).toInt(), number.toLong(), skipped.map { RawId(it) })
    }

    /** A copy of the tiny bundle that follows it: the same model, another identity. */
    fun successor(folder: File, change: Dccl.Manifest.Builder.() -> Unit = {}): File {
        tinyBundle.copyRecursively(folder)
        val file = File(folder, "manifest.pb")
        val parent = MessageDigest.getInstance("SHA-256").digest(file.readBytes())
        val manifest = Dccl.Manifest.parseFrom(file.readBytes()).toBuilder().setParent(ByteString.copyFrom(parent))
        file.writeBytes(manifest.apply(change).build().toByteArray())
        return folder
    }

    /** Likewise, with another file to which its manifest agrees. */
    fun withFile(folder: File, name: String, content: ByteArray): File = successor(folder) {
        File(folder, name).writeBytes(content)
        val hash = ByteString.copyFrom(MessageDigest.getInstance("SHA-256").digest(content))
        if (name == "goldens.pb") goldensSha256 = hash else certificateSha256 = hash
    }

    private fun property(name: String): String {
        val value = System.getProperty(name)
        Assume.assumeTrue("$name is not set: run scripts/test_android.sh", !value.isNullOrEmpty())
        return value
    }
}

fun ids(values: Iterable<Int>): List<RawId> = values.map { RawId(it) }

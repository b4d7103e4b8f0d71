package dccl.jvm

import dccl.core.ModelError
import java.lang.foreign.Arena
import java.lang.foreign.FunctionDescriptor
import java.lang.foreign.Linker
import java.lang.foreign.MemoryLayout
import java.lang.foreign.MemorySegment
import java.lang.foreign.SymbolLookup
import java.lang.foreign.ValueLayout.ADDRESS
import java.lang.foreign.ValueLayout.JAVA_BOOLEAN
import java.lang.foreign.ValueLayout.JAVA_INT
import java.lang.foreign.ValueLayout.JAVA_LONG
import java.lang.invoke.MethodHandle
import java.nio.file.Path
import java.util.concurrent.ConcurrentHashMap

/**
 * The C functions of libLiteRt.so (LiteRT 2.3), which the Python wheel ai-edge-litert carries, called by name. All of
 * them give a status, 0 for success.
 */
internal class LiteRtLibrary(path: Path) {
    private val symbols = SymbolLookup.libraryLookup(path, Arena.global())
    private val handles = ConcurrentHashMap<String, MethodHandle>()

    /**
     * Calls a function with Int, Long, Boolean and MemorySegment arguments.
     *
     * @throws ModelError its status says that it failed.
     */
    fun call(name: String, vararg arguments: Any) {
        val handle = handles.getOrPut(name) {
            val layouts = arguments.map { layout(it) }.toTypedArray()
            val symbol = symbols.find(name).orElseThrow {
                ModelError("$name: not in this libLiteRt.so; use that of LiteRT 2.3")
            }
            Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, *layouts))
                .asSpreader(Array<Any>::class.java, arguments.size)
        }
        val status = handle.invoke(arguments) as Int
        if (status != 0) throw ModelError("$name: LiteRT status $status")
    }

    /** Frees an object by a function that gives nothing. */
    fun destroy(name: String, thing: MemorySegment) {
        val symbol = symbols.find(name).orElseThrow()
        Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.ofVoid(ADDRESS)).invoke(thing)
    }

    /** What a function writes to its last argument, a pointer to a pointer. */
    fun create(name: String, vararg arguments: Any): MemorySegment = Arena.ofConfined().use { arena ->
        val out = arena.allocate(ADDRESS)
        call(name, *arguments, out)
        out.get(ADDRESS, 0)
    }

    /** What a function writes to its last argument, a pointer to a size. */
    fun size(name: String, vararg arguments: Any): Long = Arena.ofConfined().use { arena ->
        val out = arena.allocate(JAVA_LONG)
        call(name, *arguments, out)
        out.get(JAVA_LONG, 0)
    }

    /** What a function writes to its last argument, a pointer to a text. */
    fun text(name: String, vararg arguments: Any): String =
        create(name, *arguments).reinterpret(Long.MAX_VALUE).getString(0)

    private fun layout(argument: Any): MemoryLayout = when (argument) {
        is Int -> JAVA_INT
        is Long -> JAVA_LONG
        is Boolean -> JAVA_BOOLEAN
        else -> ADDRESS
    }
}

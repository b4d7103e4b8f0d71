package dccl.core

/** An item's id in the app's own catalogue: a whole number or a text, as in the bundle's vocabulary. */
sealed interface RawId {
    data class Number(val value: Long) : RawId {
        override fun toString() = value.toString()
    }

    data class Text(val value: String) : RawId {
        override fun toString() = value
    }

    companion object {
        operator fun invoke(value: Long): RawId = Number(value)

        operator fun invoke(value: Int): RawId = Number(value.toLong())

        operator fun invoke(value: String): RawId = Text(value)
    }
}

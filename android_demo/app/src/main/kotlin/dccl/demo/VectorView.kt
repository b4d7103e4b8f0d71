package dccl.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import kotlin.math.abs

/** A vector as a strip of bars, up for positive and down for negative, scaled to the largest. */
class VectorView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val bar = Paint()
    private val positive = context.getColor(R.color.positive)
    private val negative = context.getColor(R.color.negative)

    var vector: FloatArray = FloatArray(0)
        set(value) {
            field = value
            invalidate()
        }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val middle = height / 2f
        val largest = vector.maxOfOrNull { abs(it) }?.takeIf { it > 0 } ?: 1f
        val width = width.toFloat() / maxOf(1, vector.size)
        vector.forEachIndexed { place, value ->
            bar.color = if (value < 0) negative else positive
            val end = middle - value / largest * middle
            canvas.drawRect(place * width, minOf(middle, end), (place + GAP) * width, maxOf(middle, end), bar)
        }
        bar.color = Color.GRAY
        canvas.drawRect(0f, middle - 1, this.width.toFloat(), middle + 1, bar)
    }

    private companion object {
        const val GAP = 0.8f // share of a bar's place that it fills
    }
}

package dccl.demo

import android.app.Activity
import android.os.Bundle
import android.widget.Button
import android.widget.TextView
import dccl.android.scheduleUpload

/** What the phone holds: the vector, its gate and the evidence for it, time spent, bytes uploaded. */
class InsideActivity : Activity() {
    private val app get() = application as DemoApp

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.inside)
        findViewById<Button>(R.id.train).setOnClickListener { refresh { it.learn() } }
        findViewById<Button>(R.id.upload).setOnClickListener { refresh(::upload) }
        findViewById<Button>(R.id.forget).setOnClickListener { refresh { app.forget() } }
    }

    override fun onResume() {
        super.onResume()
        refresh {}
    }

    private fun upload(device: DemoDevice) {
        device.personalizer.upload()
        if (app.transport != null) scheduleUpload(app)
    }

    private fun refresh(work: (DemoDevice) -> Unit) {
        app.background({ device ->
            work(device)
            app.demoDevice().run { facts() to personalizer.vector } // another object once forgotten
        }) { (facts, vector) ->
            val width = facts.maxOf { it.first.length }
            findViewById<TextView>(R.id.facts).text =
                facts.joinToString("\n") { (name, value) -> "${name.padEnd(width)}  $value" }
            findViewById<TextView>(R.id.vector_title).text = getString(R.string.vector, vector.size)
            findViewById<VectorView>(R.id.vector).vector = vector
        }
    }
}

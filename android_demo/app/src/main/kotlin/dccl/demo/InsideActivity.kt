package dccl.demo

import android.app.Activity
import android.app.AlertDialog
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
        findViewById<Button>(R.id.forget).setOnClickListener { askToForget() }
    }

    private fun askToForget() = AlertDialog.Builder(this)
        .setMessage(R.string.forget_question)
        .setPositiveButton(R.string.forget) { _, _ -> refresh { app.forget(it.person) } }
        .setNegativeButton(android.R.string.cancel, null)
        .show()

    override fun onResume() {
        super.onResume()
        refresh {}
    }

    private fun upload(device: DemoDevice) {
        device.personalizer.upload()
        if (app.collector != null) scheduleUpload(app)
    }

    private fun refresh(work: (DemoDevice) -> Unit) {
        app.background({ device ->
            work(device)
            app.demoDevice(device.person).run { // another object once forgotten
                facts { name, values -> getString(name, *values) } to personalizer.vector
            }
        }) { (facts, vector) ->
            val width = facts.maxOf { it.first.length }
            findViewById<TextView>(R.id.facts).text =
                facts.joinToString("\n") { (name, value) -> "${name.padEnd(width)}  $value" }
            findViewById<TextView>(R.id.vector_title).text = getString(R.string.vector, vector.size)
            findViewById<VectorView>(R.id.vector).run {
                this.vector = vector
                contentDescription = getString(R.string.vector_bars, vector.size, vector.min(), vector.max())
            }
        }
    }
}

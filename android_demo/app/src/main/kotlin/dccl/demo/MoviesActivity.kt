package dccl.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.ListView
import android.widget.TextView
import dccl.core.Report

/** Browse: what everyone's model recommends beside what yours does, as the phone learns. */
class MoviesActivity : Activity() {
    private val app get() = application as DemoApp
    private var columns = Columns(emptyList(), emptyList(), gateIsOpen = false, choices = 0)

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.movies)
        title = app.person?.name
        for ((id, items) in listOf<Pair<Int, () -> List<Item>>>(
            R.id.everyone to { columns.everyone },
            R.id.yours to { columns.yours }
        )) {
            val list = findViewById<ListView>(id)
            list.setOnItemClickListener { _, _, place, _ -> learn { it.choose(items()[place], liked = true) } }
            list.setOnItemLongClickListener { _, _, place, _ ->
                learn { it.choose(items()[place], liked = false) }
                true
            }
        }
        findViewById<Button>(R.id.play).setOnClickListener { learn { it.play() } }
        findViewById<Button>(R.id.inside).setOnClickListener {
            startActivity(Intent(this, InsideActivity::class.java))
        }
    }

    override fun onResume() {
        super.onResume()
        app.background({ it.columns() to it.report }) { (columns, report) -> show(columns, report) }
    }

    private fun learn(work: (DemoDevice) -> Report) =
        app.background({ device -> work(device).let { device.columns() to it } }) { (columns, report) ->
            show(columns, report)
        }

    private fun show(columns: Columns, report: Report?) {
        this.columns = columns
        show(R.id.everyone, columns.everyone.map { it.title })
        show(R.id.yours, columns.yours.map { it.title + moved(columns.risen(it)) })
        val open = getString(if (columns.gateIsOpen) R.string.opened else R.string.closed)
        findViewById<TextView>(R.id.yours_title)
            .setText(if (columns.gateIsOpen) R.string.yours else R.string.yours_closed)
        val learned = report?.let {
            "\n" + getString(R.string.learned, it.samples, (1e3 * it.seconds).toInt(), open)
        }
        val past = getString(R.string.past, columns.choices)
        findViewById<TextView>(R.id.status).text = past + learned.orEmpty()
    }

    private fun moved(places: Int?): String = when {
        places == null -> "  new"
        places > 0 -> "  ▲$places"
        else -> ""
    }

    private fun show(id: Int, titles: List<String>) {
        findViewById<ListView>(id).adapter = ArrayAdapter(this, R.layout.movie, titles)
    }
}

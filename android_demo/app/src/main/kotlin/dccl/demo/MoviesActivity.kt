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
    private val titles = HashMap<Int, ArrayAdapter<String>>() // by the list's id
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
            list.adapter = ArrayAdapter<String>(this, R.layout.movie).also { titles[id] = it }
            list.setOnItemClickListener { _, _, place, _ -> choose(items().getOrNull(place), liked = true) }
            list.setOnItemLongClickListener { _, _, place, _ ->
                choose(items().getOrNull(place), liked = false)
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

    /** The item is the one that was shown at the tap, whatever the columns show by the time that it is logged. */
    private fun choose(item: Item?, liked: Boolean) {
        if (item != null) learn { it.choose(item, liked) }
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
        places == null -> getString(R.string.marked_new)
        places > 0 -> getString(R.string.marked_risen, places)
        else -> ""
    }

    /** In the same adapter, so that the list stays where it was scrolled to. */
    private fun show(id: Int, lines: List<String>) = titles.getValue(id).run {
        setNotifyOnChange(false)
        clear()
        addAll(lines)
        notifyDataSetChanged()
    }
}

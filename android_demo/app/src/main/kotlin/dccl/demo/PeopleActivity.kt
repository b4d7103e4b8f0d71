package dccl.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.ArrayAdapter
import android.widget.ListView

/** Pick who you are. */
class PeopleActivity : Activity() {
    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.people)
        val app = application as DemoApp
        val lines = app.data.people.map { getString(R.string.person, it.name, it.profile.values.joinToString()) }
        val list = findViewById<ListView>(R.id.people)
        list.adapter = ArrayAdapter(this, android.R.layout.simple_list_item_1, lines)
        list.setOnItemClickListener { _, _, place, _ ->
            app.person = app.data.people[place]
            startActivity(Intent(this, MoviesActivity::class.java))
        }
    }
}

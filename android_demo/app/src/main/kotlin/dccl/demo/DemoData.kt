package dccl.demo

import dccl.core.Interaction
import dccl.core.RawId
import org.json.JSONArray
import org.json.JSONObject

class Item(val id: RawId, val title: String)

/** Somebody made up: what they chose before they got this phone, and what they go on to choose. */
class Person(
    val name: String,
    val profile: Map<String, String>,
    val past: List<Interaction>,
    val future: List<Interaction>
)

/** The demo's items and people, from assets/demo.json (scripts/android_demo_model.py). */
class DemoData(json: String) {
    val items: List<Item>
    val people: List<Person>

    init {
        val root = JSONObject(json)
        items = root.getJSONArray("items").objects().map { Item(RawId(it.getLong("id")), it.getString("title")) }
        people = root.getJSONArray("people").objects().map { person ->
            val profile = person.getJSONObject("profile")
            Person(
                name = person.getString("name"),
                profile = profile.keys().asSequence().associateWith(profile::getString),
                past = choices(person.getJSONArray("past"), from = 0),
                future = choices(person.getJSONArray("future"), from = person.getJSONArray("past").length())
            )
        }
    }

    private fun JSONArray.objects(): List<JSONObject> = List(length(), ::getJSONObject)

    private fun choices(pairs: JSONArray, from: Int): List<Interaction> = List(pairs.length()) { number ->
        val (item, label) = pairs.getJSONArray(number).let { it.getLong(0) to it.getInt(1) }
        Interaction(RawId(item), label, timestamp = (from + number).toLong())
    }
}

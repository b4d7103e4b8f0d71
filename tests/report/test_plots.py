"""The figures say in words what they show, and survive any name."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from dccl_tf.metrics import Estimate
from dccl_tf.report import plots
from dccl_tf.report.activity import ActivityGroup
from dccl_tf.report.drawing import COLOURS, INK, OTHER, Drawing, standalone
from dccl_tf.report.results import VectorMap


def vector_map(*categories: str) -> VectorMap:
    return VectorMap([[float(i), 0.0] for i in range(len(categories))], list(categories), 0.5, 0.25)


def said_of(metric: str) -> str:
    """What is said of a model that gains 0.1 clearly, 0.1 by chance, and loses 0.1 clearly."""
    bounds = ((0.1, 0.05, 0.2), (0.1, -0.1, 0.2), (-0.1, -0.2, -0.05))
    gains = [Estimate(mean, low, high, 20, 0) for mean, low, high in bounds]
    groups = [ActivityGroup(20, 9.0, {"base": 0.5, "m": 0.5 + gain.mean}, {"m": gain}) for gain in gains]
    drawing = plots.activity(groups, metric)
    ElementTree.fromstring(standalone(drawing))
    return drawing.description


def test_activity_counts_the_groups_that_gain_and_those_that_do_clearly():
    text = "m is better than base in 2 of 3 groups, clearly so in 1, and clearly worse in 1."
    assert said_of("macro_auc/liked") == f"macro-AUC in groups of users by activity: {text}"


def test_activity_knows_where_less_is_better():
    text = "m is better than base in 1 of 3 groups, clearly so in 1, and clearly worse in 1."
    assert said_of("log_loss/liked") == f"log loss ↓ in groups of users by activity: {text}"


def test_curves_name_first_and_last_loss():
    drawing = plots.curves({"one": {"loss": [0.7, 0.6, 0.5], "validation": []}})
    assert drawing.description == "Training loss by epoch: one from 0.700 to 0.500."


def test_curves_show_validation_where_there_is_one():
    without = plots.curves({"one": {"loss": [0.7], "validation": []}}).svg
    assert "validation" not in without
    assert "validation" in plots.curves({"one": {"loss": [0.7], "validation": [-0.7]}}).svg


def test_curves_of_many_stages_differ_in_colour():
    legend = plots.curves({str(i): {"loss": [0.5], "validation": []} for i in range(18)}).legend
    assert len({colour for _, colour in legend}) == 18


@pytest.mark.parametrize("name", [r"$\frac$", "$5-$10", "_hidden", "中文", "<b>"])
def test_map_takes_any_category_name(name):
    assert (f"{name} (2)", COLOURS[0]) in plots.vector_map(vector_map(name, name, "z")).legend


def test_map_gathers_rare_categories_as_other():
    names = [f"c{i}" for i in range(8) for _ in range(2)] + ["rare", "rarer"]  # eight twice, two once
    legend = plots.vector_map(vector_map(*names)).legend
    assert len(legend) == 9
    assert legend[-1] == ("other (2)", OTHER)


def test_map_without_rare_categories_has_no_other():
    assert [name for name, _ in plots.vector_map(vector_map("a", "b")).legend] == ["a (1)", "b (1)"]


def test_figures_take_the_page_s_colours_and_have_no_paper():
    svg = plots.curves({"one": {"loss": [0.7, 0.6], "validation": []}}).svg
    assert "currentColor" in svg
    assert INK not in svg
    assert "#ffffff" not in svg


def test_figures_on_one_page_are_sound_xml_in_which_an_id_occurs_once():
    figures = [plots.curves({"one": {"loss": [0.7, last], "validation": [0.1, 0.2]}}).svg for last in (0.6, 0.5)]
    page = ElementTree.fromstring(f"<div>{''.join(figures)}</div>")
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 0


def test_figures_refer_to_ids_that_they_have():
    svg = plots.vector_map(vector_map("a", "b")).svg + plots.curves({"one": {"loss": [0.7], "validation": []}}).svg
    used = set(re.findall(r'(?:url\(|href=")#([^")]*)', svg))
    assert used
    assert used <= set(re.findall(r'\bid="([^"]*)"', svg))


def test_curves_of_one_epoch_have_no_part_of_an_epoch_below():
    svg = plots.curves({"one": {"loss": [0.7], "validation": []}}).svg
    labels = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert "1" in labels[: labels.index("epoch")]
    assert not [label for label in labels[: labels.index("epoch")] if "." in label]


@pytest.mark.parametrize("name", ["a < b", '"q"', "中文"])
def test_a_figure_alone_is_sound_xml_that_says_what_it_shows_and_names_its_colours(name):
    drawing = Drawing(plots.vector_map(vector_map("a", "b")).svg, f"About {name}.", [(name, "#123456")])
    root = ElementTree.fromstring(standalone(drawing))
    texts = [element.text for element in root.iter() if element.tag.endswith(("text", "title"))]
    assert texts[:2] == [f"About {name}.", name]


def test_a_legend_that_is_long_takes_rows_above_the_figure():
    svg = '<svg viewBox="0 0 200 50" height="50pt"><g/></svg>'
    # 164 points wide; an entry of 10 letters takes 2 * 9 + 6 * 10 + 18 = 96, so one goes into a row: 2 * 18 + 9 above
    made = standalone(Drawing(svg, "", [("abcdefghij", "#111111"), ("klmnopqrst", "#222222")]))
    assert 'viewBox="0 -45 200 95"' in made
    assert 'height="95pt"' in made

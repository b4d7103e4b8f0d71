"""Sections between markers."""

import pytest

from dccl_tf.study.page import with_section, write_section

PAGE = "# R\nwords\n<!-- begin a -->\nold\n<!-- end a -->\nmore\n<!-- begin b -->\nkept\n<!-- end b -->\nlast\n"


def test_a_section_is_replaced_and_all_else_is_left_alone():
    assert with_section(PAGE, "a", "A", "new\nlines") == PAGE.replace("old", "new\nlines")


def test_setting_a_section_again_changes_nothing():
    once = with_section(PAGE, "b", "B", "new")
    assert with_section(once, "b", "B", "new") == once


def test_a_page_without_the_markers_gets_them_at_its_end():
    assert with_section("# R\n", "c", "Title", "body") == (
        "# R\n\n## Title\n\n<!-- begin c -->\nbody\n<!-- end c -->\n"
    )


def test_a_new_section_goes_before_the_first_that_comes_after_it():
    page = with_section("# R\n", "b", "B", "second", order=str)
    page = with_section(page, "a", "A", "first", order=str)
    page = with_section(page, "c", "C", "third", order=str)
    assert page.split("\n\n") == [
        "# R",
        "## A", "<!-- begin a -->\nfirst\n<!-- end a -->",
        "## B", "<!-- begin b -->\nsecond\n<!-- end b -->",
        "## C", "<!-- begin c -->\nthird\n<!-- end c -->\n",
    ]  # fmt: skip


def test_a_name_that_begins_like_another_is_another():
    page = with_section(PAGE, "a b", "AB", "new")
    assert "<!-- begin a -->\nold\n" in page


@pytest.mark.parametrize("page", [PAGE.replace("<!-- end a -->", ""), PAGE + PAGE])
def test_markers_that_do_not_pair_are_refused(page):
    with pytest.raises(ValueError, match="expected one '<!-- begin a -->' and after it one '<!-- end a -->'"):
        with_section(page, "a", "A", "new")


def test_a_page_that_does_not_exist_is_begun(tmp_path):
    write_section(tmp_path / "docs" / "results.md", "a", "A", "body")
    assert (tmp_path / "docs" / "results.md").read_text().startswith("# Results\n\n## A\n\n<!-- begin a -->\nbody\n")

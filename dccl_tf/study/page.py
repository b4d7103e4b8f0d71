"""The page of results: prose by hand, and sections between markers that a study writes anew.

<!-- begin table2 ml-1m -->
...
<!-- end table2 ml-1m -->
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dccl_tf.files import write_text

BEGINNING = "# Results\n"


Order = Callable[[str], Any]  # name of a section to what sections are sorted by


def write_section(path: Path, name: str, title: str, body: str, order: Order | None = None) -> None:
    """Puts `body` between the markers `name` of the page at `path`; all else stays as it is.

    A page without such markers gets them, under the heading `title`, before the first section that comes later in
    `order`, else at its end. A page that does not exist is begun.

    Raises:
      ValueError: a beginning without an end, or markers that occur twice.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else BEGINNING
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, with_section(text, name, title, body, order))


def with_section(text: str, name: str, title: str, body: str, order: Order | None = None) -> str:
    """The text of a page with a section set, as `write_section` says."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    found = [len(re.findall(re.escape(marker), text)) for marker in (begin, end)]
    if found == [0, 0]:
        place = _place(text, name, order) if order else len(text)
        before, after = text[:place].rstrip(), text[place:].lstrip()
        return f"{before}\n\n## {title}\n\n{begin}\n{body}\n{end}\n" + (f"\n{after}" if after else "")
    if found != [1, 1] or text.index(begin) > text.index(end):
        raise ValueError(f"page: expected one {begin!r} and after it one {end!r}, got {found[0]} and {found[1]}")
    before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    return f"{before}\n{body}\n{after}"


def _place(text: str, name: str, order: Order) -> int:
    """Where a new section belongs: at the heading of the first one that comes after it, else at the end."""
    for marker in re.finditer(r"<!-- begin (.+?) -->", text):
        if order(marker[1]) > order(name):
            heading = text.rfind("\n## ", 0, marker.start())
            return heading + 1 if heading >= 0 else marker.start()
    return len(text)

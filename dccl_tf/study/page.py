"""The page of results: prose by hand, and sections between markers that a study writes anew.

<!-- begin table2 ml-1m -->
...
<!-- end table2 ml-1m -->
"""

import re
from pathlib import Path

from dccl_tf.stages import write_text

BEGINNING = "# Results\n"


def write_section(path: Path, name: str, title: str, body: str) -> None:
    """Puts `body` between the markers `name` of the page at `path`; all else stays as it is.

    A page that has no such markers gets them at its end, under the heading `title`; a page that does not exist is
    begun.

    Raises:
      ValueError: a beginning without an end, or markers that occur twice.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else BEGINNING
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, with_section(text, name, title, body))


def with_section(text: str, name: str, title: str, body: str) -> str:
    """The text of a page with a section set, as `write_section` says."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    found = [len(re.findall(re.escape(marker), text)) for marker in (begin, end)]
    if found == [0, 0]:
        return f"{text.rstrip()}\n\n## {title}\n\n{begin}\n{body}\n{end}\n"
    if found != [1, 1] or text.index(begin) > text.index(end):
        raise ValueError(f"page: expected one {begin!r} and after it one {end!r}, got {found[0]} and {found[1]}")
    before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    return f"{before}\n{body}\n{after}"

"""How every figure looks: one style and a few colours, SVG without paper whose ink is the text colour around it.

Text stays text, one figure gives the same bytes each time, and its ids begin with its own hash, so that a page may
hold several.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

COLOURS = ("#3f7cc4", "#d1603d", "#4f9d69", "#9368bd", "#c9a227", "#3aa6a6", "#c2587f", "#8c6d46")
OTHER = "#9aa0a6"
INK = "#010203"  # drawn nowhere else; becomes currentColor
STYLE = {
    **{name: INK for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")},
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dccl",  # the same figure gives the same bytes
}

_GREY = "#717a85"  # the ink of a figure that stands alone: legible on white (4.3 : 1) and on near-black (4.4 : 1)
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_LETTER, _LINE, _MARK = 6.0, 18, 9  # points: width of a letter of the legend on average, height of a row, of a mark


@dataclass(frozen=True)
class Drawing:
    """A figure for a page that writes the legend itself: names may hold any script and any sign."""

    svg: str
    description: str  # for those who do not see it
    legend: list[tuple[str, str]]  # name, colour


def svg_of(figure: Figure) -> str:
    """The figure as an `<svg>` element to be put into a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # named but never referred to
    prefix = f"f{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)


def standalone(drawing: Drawing) -> str:
    """The drawing as a file of its own: the legend above the figure, its description inside, ink for any paper."""
    svg = drawing.svg
    left, top, width, height = map(float, re.search(r'viewBox="([^"]*)"', svg)[1].split())
    rows = _legend_rows(drawing.legend, width - 2 * _LINE)
    above = _LINE * len(rows) + (_LINE / 2 if rows else 0)
    head, body = svg[: svg.index(">") + 1], svg[svg.index(">") + 1 :]
    for name, value in (
        ("viewBox", f"{left:g} {top - above:g} {width:g} {height + above:g}"),
        ("height", f"{height + above:g}pt"),
    ):
        head = re.sub(rf'\b{name}="[^"]*"', f'{name}="{value}"', head, count=1)
    head = f'{head[:-1]} role="img" style="color: {_GREY}">'
    body = re.sub(r"font: ([^;\"]*?px) [^;\"]*", rf"font: \1 {_FONT}", body)
    words = f"\n<title>{escape(drawing.description)}</title>\n"
    return f"{head}{words}{_legend(rows, left, top - above)}{body}"


def _legend_rows(legend: list[tuple[str, str]], width: float) -> list[list[tuple[float, str, str]]]:
    """The entries with their places from the left, as many a row as have room in it."""
    rows: list[list[tuple[float, str, str]]] = []
    place = width
    for name, colour in legend:
        needed = 2 * _MARK + _LETTER * len(name) + _LINE
        if place + needed > width:
            rows.append([])
            place = 0.0
        rows[-1].append((place, name, colour))
        place += needed
    return rows


def _legend(rows: list[list[tuple[float, str, str]]], left: float, top: float) -> str:
    marks = []
    for number, row in enumerate(rows):
        y = top + _LINE * (number + 0.5)
        for place, name, colour in row:
            x = left + _LINE + place
            marks.append(f'<circle cx="{x:g}" cy="{y:g}" r="{_MARK / 2:g}" fill="{colour}"/>')
            marks.append(
                f'<text x="{x + _MARK:g}" y="{y + 3.5:g}" fill="currentColor" '
                f'style="font: 10.5px {_FONT}">{escape(name)}</text>'
            )
    return "\n".join(marks)

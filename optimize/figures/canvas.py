"""Turns drawings into figures of one style: an SVG element for a page, the bytes of a PNG file.

It opens no window, leaves matplotlib's settings as they are, writes no file, and does not know what is drawn.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, LINE, PAPER = "#1f2328", "#d6dade", "#ffffff"  # text and axes, grids, background: a page replaces them by its own
MOST_DOTS = 500  # above, the dots and lines of a figure are pixels in its SVG: a thousand would be half a megabyte
PNG_DPI, RASTER_DPI = 150, 200
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "legend.handletextpad": 0.3,
    "legend.columnspacing": 1.2,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "text.parse_math": False,  # names come from scripts: a dollar sign is one
    "svg.fonttype": "path",
    "svg.hashsalt": "optimize",
}
Finish = Callable[[], object] | None
Draw = Callable[[Axes], Finish]
"""Draws into axes; what it returns is called when the layout is settled, to place what depends on it."""


@contextmanager
def styled() -> Iterator[None]:
    """Whatever is drawn inside looks like a figure of ours."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in letters that the font lacks
        yield


def draw(what: Draw, width: float, height: float, title: str = "") -> Figure:
    """A figure of one drawing, in inches. A page has its own headings, a file beside it needs a title."""
    return draw_grid([what], 1, width, height, title)


def draw_grid(
    what: Sequence[Draw], columns: int, width: float, height: float, title: str = "", y_label: str = ""
) -> Figure:
    """Several drawings side by side; the size is that of all of them."""
    with styled():
        figure = Figure((width, height), layout="constrained", dpi=100)
        FigureCanvasAgg(figure)
        rows = -(-len(what) // columns)
        finishes = [each(figure.add_subplot(rows, columns, place)) for place, each in enumerate(what, 1)]
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        if y_label:
            figure.supylabel(y_label, fontsize="medium")
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)  # now, so that labels find their places; drawing it would cost as much again
        figure.set_layout_engine("none")
        for finish in finishes:
            if finish is not None:
                finish()
    return figure


def svg_of(figure: Figure, name: str, colours: Mapping[str, str]) -> str:
    """The figure as an element for a page: it scales with the page and has its `colours` (ours -> the page's).

    `name` is unique on the page: of two elements with the same id it would know the first one only.
    """
    buffer = io.StringIO()
    with styled():
        figure.set_facecolor("none")
        figure.set_dpi(RASTER_DPI)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata=nothing)  # savefig would draw twice
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text).replace("url(#", f"url(#{name}-")
    text = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', text).replace("xlink:href=", "href=")
    for colour, ours in colours.items():
        text = text.replace(colour, ours)
    return re.sub(r">\s+<", "><", text)


def png_of(figure: Figure) -> bytes:
    """The figure as a file."""
    buffer = io.BytesIO()
    with styled():
        figure.set_facecolor(PAPER)
        figure.set_dpi(PNG_DPI)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()

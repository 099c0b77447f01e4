"""The common style of the figures: colours and fonts, how each ending is drawn, where labels find room.

`draw` turns drawings into figures; `svg_of` makes one an element of a page, `png_of` the bytes of a file. It opens no window,
leaves matplotlib's settings as they are, writes no file, and does not know what is drawn. matplotlib is imported when the first
figure is drawn: whoever only asks how an ending looks does not wait for it.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

INK, LINE, PAPER = "#1f2328", "#d6dade", "#ffffff"  # text and axes, grids, background; a page replaces them by its own
MOST_DOTS = 500  # with more, dots and lines are pixels in the SVG: a thousand of them would take half a megabyte
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
    "text.parse_math": False,  # names come from scripts and may hold a dollar sign
    "svg.fonttype": "path",
    "svg.hashsalt": "optimize",
}
Finish = Callable[[], object] | None
Draw = Callable[["Axes"], Finish]
"""Draws into axes; it may return a function, which is called when the layout is final, to place labels."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style inside this context."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in letters that the font lacks
        yield


def draw(what: Draw, width: float, height: float, title: str = "") -> Figure:
    """Return a figure of one drawing; its size is in inches. A page has headings of its own; a file needs a `title`."""
    return draw_grid([what], 1, width, height, title)


def draw_grid(
    what: Sequence[Draw], columns: int, width: float, height: float, title: str = "", y_label: str = ""
) -> Figure:
    """Return a figure of several drawings side by side; width and height, in inches, are those of the whole figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
    """Return the figure as an element of a page: it scales with the page and has its `colours` (ours -> the page's).

    `name` must be unique on the page, because all ids begin with it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

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
    """Return the figure as the bytes of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with styled():
        figure.set_facecolor(PAPER)
        figure.set_dpi(PNG_DPI)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


GAP_PT = 3.0  # points between a label and whatever is beside it
FAR_PT = 12.0  # points from its step beyond which a thin line leads there
# Where a label may stand, in points from its step: (to the right, away from the steps), the nearest first.
PLACES = [(x, away) for away in (6, 19, 32, 45, 60, 80, 100) for x in (5, -5, 24, -24, 48)]


@dataclass(frozen=True, slots=True)
class Label:
    """A text for the point at (x, y), in data coordinates."""

    x: float
    y: float
    text: str


def place_labels(axes: Axes, labels: Sequence[Label], steps: Sequence[Bbox], downwards: bool, colour: str) -> int:
    """Place labels beyond the steps, the first ones first, as far as there is room; return how many were placed.

    `steps` are in pixels; `downwards` says on which side of them is beyond.
    """
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer: RendererBase = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    room, full = axes.get_window_extent(renderer), list["Bbox"]()
    pixels, placed = figure.dpi / 72, 0  # of a point
    for label in labels:
        width, height = _size(axes, label, renderer)
        at = tuple(map(float, axes.transData.transform((label.x, label.y))))
        for right, away in PLACES:
            up = -away if downwards else away
            corner = Bbox([at, (at[0] + right * pixels, at[1] + up * pixels)])
            x, y = corner.x1 if right > 0 else corner.x1 - width, corner.y1 if up > 0 else corner.y1 - height
            box = Bbox.from_bounds(x, y, width, height).padded(GAP_PT * pixels)
            line = Bbox([corner.min, corner.max])
            free = not any(box.overlaps(other) or line.overlaps(other) for other in full)
            if free and _inside(box, room) and _beyond(box, steps, downwards):
                full += [box, line]
                placed += 1
                _write(axes, label, right, up, colour)
                break
    return placed


def line_boxes(axes: Axes, corners: Sequence[tuple[float, float]], padding_px: float = 3.0) -> list[Bbox]:
    """Return boxes around the lines between corners, in pixels."""
    from matplotlib.transforms import Bbox

    points = [axes.transData.transform(corner) for corner in corners]
    return [
        Bbox([[min(a[0], b[0]), min(a[1], b[1])], [max(a[0], b[0]), max(a[1], b[1])]]).padded(padding_px)
        for a, b in pairwise(points)
    ]


def _size(axes: Axes, label: Label, renderer: RendererBase) -> tuple[float, float]:
    text = axes.annotate(label.text, (label.x, label.y), fontsize="small")
    extent = text.get_window_extent(renderer)
    text.remove()
    return extent.width, extent.height


def _write(axes: Axes, label: Label, right: float, up: float, colour: str) -> None:
    far = max(abs(right), abs(up)) > FAR_PT
    line = {
        "arrowstyle": "-",
        "color": colour,
        "linewidth": 0.5,
        "shrinkA": 0,
        "shrinkB": 4,
        "relpos": _corner(right, up),
    }
    axes.annotate(
        label.text,
        (label.x, label.y),
        (right, up),
        textcoords="offset points",
        ha="left" if right > 0 else "right",
        va="top" if up < 0 else "bottom",
        fontsize="small",
        color=colour,
        arrowprops=line if far else None,
    )


def _corner(right: float, up: float) -> tuple[float, float]:
    """Return the corner of a label that is nearest to its step."""
    return (0.0 if right > 0 else 1.0), (1.0 if up < 0 else 0.0)


def _beyond(box: Bbox, steps: Sequence[Bbox], downwards: bool) -> bool:
    here = [step for step in steps if step.x0 < box.x1 and step.x1 > box.x0]
    return all(box.y1 <= step.y0 if downwards else box.y0 >= step.y1 for step in here)


def _inside(box: Bbox, room: Bbox) -> bool:
    return bool(box.x0 >= room.x0 and box.x1 <= room.x1 and box.y0 >= room.y0 and box.y1 <= room.y1)


ACCENT = "#007a5e"  # improvements, the best, the confirmed: nothing else has this colour
GREY = "#9a9a9a"  # trials without an improvement


@dataclass(frozen=True, slots=True)
class EndingStyle:
    """How trials of one ending are drawn."""

    label: str  # its word for people
    colour: str
    marker: str  # of matplotlib
    symbol: str  # of plotly


# In the order of legends and tables: complete, bad parameters, trouble of the machine, not over yet.
STYLES = {
    "complete": EndingStyle("complete", "#0072b2", "o", "circle"),
    "hopeless": EndingStyle("hopeless, cut", "#e69f00", "v", "triangle-down"),
    "out_of_memory": EndingStyle("out of memory", "#d55e00", "s", "square"),
    "diverged": EndingStyle("diverged", "#cc79a7", "^", "triangle-up"),
    "infeasible": EndingStyle("infeasible", "#8f7700", "D", "diamond"),
    "timed_out": EndingStyle("timed out", "#7f6bb5", "P", "cross"),
    "silent": EndingStyle("silent", "#56b4e9", "<", "triangle-left"),
    "crashed": EndingStyle("crashed", "#b8423c", "X", "x"),
    "environment": EndingStyle("environment", "#94694a", ">", "triangle-right"),
    "device_failed": EndingStyle("failed device", "#4f8a3d", "p", "pentagon"),
    "busy": EndingStyle("busy device", "#8a8a8a", "h", "hexagon"),
    "cancelled": EndingStyle("cancelled", "#6c7f92", "d", "diamond-tall"),
    "lost": EndingStyle("lost", "#7d7d5a", "*", "star"),
    "pruned": EndingStyle(
        "pruned", "#e69f00", "v", "triangle-down"
    ),  # this and `fail` are for trials of other programs
    "fail": EndingStyle("failed", "#b8423c", "X", "x"),
    "running": EndingStyle("running", "#0b6e99", ".", "circle-open"),
    "waiting": EndingStyle("waiting", "#9a9a9a", ".", "circle-open"),
}


def style_of(ending: str) -> EndingStyle:
    """Return how an ending of `data.ending_of` is drawn; an unknown one is drawn as a failure under its own name."""
    return STYLES.get(ending) or EndingStyle(ending.replace("_", " ")[:40], "#b8423c", "X", "x")


def in_order(endings: Iterable[str]) -> list[str]:
    """Return each ending once, in the order of legends, unknown ones last."""
    known = list(STYLES)
    return sorted(set(endings), key=lambda ending: (known.index(ending) if ending in known else len(known), ending))

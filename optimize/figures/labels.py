"""Puts labels on the empty side of a staircase, where no trial can be, so that they cover nothing; some find no place.

It only looks for places: what a label says, and which ones matter most, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.transforms import Bbox

GAP_PT = 3.0  # between a label and whatever is beside it
FAR_PT = 12.0  # from its step: then a thin line leads there
# Where a label may stand, seen from its step, in points: (to the right, away from the stairs), the nearest first.
PLACES = [(x, away) for away in (6, 19, 32, 45, 60, 80, 100) for x in (5, -5, 24, -24, 48)]


@dataclass(frozen=True, slots=True)
class Label:
    """A text for the point at (x, y), in the axes' own numbers."""

    x: float
    y: float
    text: str


def place_labels(axes: Axes, labels: Sequence[Label], stairs: Sequence[Bbox], downwards: bool, colour: str) -> int:
    """How many found a place, the first ones first. `stairs` are in pixels; beyond them is down, or up."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer: RendererBase = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    room, full = axes.get_window_extent(renderer), list[Bbox]()
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
            if free and _inside(box, room) and _beyond(box, stairs, downwards):
                full += [box, line]
                placed += 1
                _write(axes, label, right, up, colour)
                break
    return placed


def line_boxes(axes: Axes, corners: Sequence[tuple[float, float]], padding_px: float = 3.0) -> list[Bbox]:
    """The lines between corners, in pixels."""
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
    """Of the text, that is nearest to its step."""
    return (0.0 if right > 0 else 1.0), (1.0 if up < 0 else 0.0)


def _beyond(box: Bbox, stairs: Sequence[Bbox], downwards: bool) -> bool:
    here = [step for step in stairs if step.x0 < box.x1 and step.x1 > box.x0]
    return all(box.y1 <= step.y0 if downwards else box.y0 >= step.y1 for step in here)


def _inside(box: Bbox, room: Bbox) -> bool:
    return bool(box.x0 >= room.x0 and box.x1 <= room.x1 and box.y0 >= room.y0 and box.y1 <= room.y1)

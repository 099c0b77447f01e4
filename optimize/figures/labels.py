"""Puts labels on the empty side of a staircase, where no trial can be, so that they cover nothing; some find no place.

It only looks for places: what a label says, and which ones matter most, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.text import Annotation
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
    gap, placed = GAP_PT * figure.dpi / 72, 0
    for label in labels:
        for right, away in PLACES:
            up = -away if downwards else away
            text = _write(axes, label, right, up, colour)
            box = text.get_window_extent(renderer).padded(gap)
            line = _lead_box(axes, label, right, up)
            free = not any(box.overlaps(other) or line.overlaps(other) for other in full)
            if free and _inside(box, room) and _beyond(box, stairs, downwards):
                full += [box, line]
                placed += 1
                if max(abs(right), abs(up)) > FAR_PT:
                    _lead(axes, label, right, up, colour)
                break
            text.remove()
    return placed


def line_boxes(axes: Axes, corners: Sequence[tuple[float, float]], padding_px: float = 3.0) -> list[Bbox]:
    """The lines between corners, in pixels."""
    points = [axes.transData.transform(corner) for corner in corners]
    return [
        Bbox([[min(a[0], b[0]), min(a[1], b[1])], [max(a[0], b[0]), max(a[1], b[1])]]).padded(padding_px)
        for a, b in pairwise(points)
    ]


def _write(axes: Axes, label: Label, right: float, up: float, colour: str) -> Annotation:
    return axes.annotate(
        label.text,
        (label.x, label.y),
        (right, up),
        textcoords="offset points",
        ha="left" if right > 0 else "right",
        va="top" if up < 0 else "bottom",
        fontsize="small",
        color=colour,
    )


def _lead(axes: Axes, label: Label, right: float, up: float, colour: str) -> None:
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}
    axes.annotate("", (label.x, label.y), (right, up), textcoords="offset points", arrowprops=line)


def _lead_box(axes: Axes, label: Label, right: float, up: float) -> Bbox:
    """What the line to a label takes, in pixels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    x, y = axes.transData.transform((label.x, label.y))
    there = x + right * figure.dpi / 72, y + up * figure.dpi / 72
    return Bbox([[min(x, there[0]), min(y, there[1])], [max(x, there[0]), max(y, there[1])]])


def _beyond(box: Bbox, stairs: Sequence[Bbox], downwards: bool) -> bool:
    here = [step for step in stairs if step.x0 < box.x1 and step.x1 > box.x0]
    return all(box.y1 <= step.y0 if downwards else box.y0 >= step.y1 for step in here)


def _inside(box: Bbox, room: Bbox) -> bool:
    return bool(box.x0 >= room.x0 and box.x1 <= room.x1 and box.y0 >= room.y0 and box.y1 <= room.y1)

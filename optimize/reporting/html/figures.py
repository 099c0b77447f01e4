"""The figures of a report: each as an element of the page, in a wide and a narrow form, and as a PNG file beside it.

It chooses the figures, their sizes and titles; `optimize/reporting/figures/static.py` draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from optimize.reporting.figures import static, style
from optimize.reporting.figures.style import ACCENT, INK, LINE, PAPER, STYLES, Draw, draw, draw_grid, png_of, svg_of
from optimize.reporting.html.facts import ReportFacts
from optimize.reporting.html.markup import Markup, join, tag

# Replaced by the colours of the page, so that the figures suit a dark page.
PAGE_COLOURS = {
    INK: "var(--ink)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    ACCENT: "var(--accent)",
    STYLES["complete"].colour: "var(--blue)",
}
WIDE, NARROW = (9.6, 5.0), (4.6, 4.8)  # inches; at 10 points both are legible where they are shown
SLICE, SLICE_COLUMNS = (3.4, 2.5), 4
MOST_SLICES = 60  # a study with more parameters shows the first
FILES = ("progress", "importance", "slices", "curves", "cost")


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the report; `name` is that of its file."""

    name: str
    element: Markup
    png: bytes


def draw_all(facts: ReportFacts) -> dict[str, Picture]:
    """Draw the figures that have something to show; return them by name."""
    return {picture.name: picture for picture in _all(facts)}


def _all(facts: ReportFacts) -> Iterator[Picture]:
    of = f"{facts.name}: "
    if facts.history.steps:
        rank = {each.name: each.share for each in facts.importances.of}
        wide, narrow = (
            static.progress(facts.history, facts.metric, labels, names, rank) for labels, names in ((14, 2), (5, 1))
        )
        ended, kept = len(facts.history.points), len(facts.history.steps)
        yield _two("progress", wide, narrow, f"{of}{ended} trials, {kept} improvements")
    if facts.importances.of:
        size = 4.8, 1.1 + 0.27 * len(facts.importances.of)
        yield _one("importance", static.importance(facts.importances), size, f"{of}importance of parameters")
    if facts.best is not None and facts.slices:
        yield _slices(facts)
    if facts.curves:
        x_label = "percent of the budget" if facts.ours else "step"
        best = facts.best.number if facts.best else None
        what = static.learning(facts.curves, best, x_label)
        yield _two("curves", what, what, f"{of}learning curves of {len(facts.curves)} trials")
    if facts.costs:
        size = 4.8, 0.9 + 0.32 * len(facts.costs)
        yield _one("cost", static.spent(facts.costs, facts.unit), size, f"{of}cost by ending")


def _one(name: str, what: Draw, size: tuple[float, float], title: str) -> Picture:
    return Picture(name, _svg(what, name, size), png_of(draw(what, size[0] * 1.4, size[1] * 1.2 + 0.3, title[:90])))


def _two(name: str, wide: Draw, narrow: Draw, title: str) -> Picture:
    forms = ("wide", wide, WIDE), ("narrow", narrow, NARROW)
    element = join(tag("div", _svg(what, f"{name}-{form}", size), class_=form) for form, what, size in forms)
    return Picture(name, element, png_of(draw(wide, WIDE[0], WIDE[1] + 0.4, title[:90])))


def _slices(facts: ReportFacts) -> Picture:
    """Draw one small figure for each parameter; the page sets as many side by side as it has room for."""
    values = [record.value for record in facts.records if record.value is not None]
    limits, best = static.shown_range(values, facts.metric, room=0.06), facts.best.number if facts.best else None
    shown = [each for each in facts.slices if each.dots][:MOST_SLICES]
    drawings = [static.parameter(each, facts.metric, limits, best, facts.default.get(each.name)) for each in shown]  # type: ignore[arg-type]
    elements = (tag("div", _svg(each, f"slice-{i}", SLICE)) for i, each in enumerate(drawings))
    columns = min(SLICE_COLUMNS, len(drawings))
    size = columns * SLICE[0], -(-len(drawings) // columns) * SLICE[1] + 0.5
    whole = draw_grid(drawings, columns, *size, f"{facts.name}: {static.better(facts.metric)} by parameter"[:90])
    return Picture("slices", tag("div", *elements, class_="grid"), png_of(whole))


def _svg(what: Draw, name: str, size: tuple[float, float]) -> Markup:
    return Markup(svg_of(style.draw(what, *size), name, PAGE_COLOURS))

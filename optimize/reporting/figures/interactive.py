"""The figures of the dashboard, drawn with plotly: best so far, cost, confirmation; all bounded in size.

Values in, plotly's JSON out. plotly is imported when the first figure is drawn, so that no trial waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar

from optimize.confirm.campaign import VerdictState
from optimize.confirm.verdict import Finalist, Verdict
from optimize.reporting.figures.data import History, HistoryPoint, cost, history
from optimize.reporting.figures.style import ACCENT, GREY, style_of
from optimize.text import amount, duration, short, value_text
from optimize.trial import Metric
from storage import TrialRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_DOTS = 400  # of trials without an improvement, and of failures; more would only load slowly
LABEL = 40  # characters up to which a label names two changes; else it names one
CHARACTER, LINE = 0.0115, 0.05  # size of a label's character and line, as shares of the plot, about
CROWDED = 100  # with so many failures, their marks are small
CROWD, WORTH = 20, 0.9  # with so many values, the axis shows only this share of them, the best
WIDE = 4  # so many bars fill the plot
_BELOW = {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "xanchor": "left"}
T = TypeVar("T")


def interactive_figures(records: Sequence[TrialRecord], metric: Metric, verdict: Verdict | None) -> dict[str, str]:
    """Return the figures as plotly's JSON by name, a valid HTML id, without those that would be empty."""
    figures = {"best-so-far": _best_so_far(records, metric), "cost": _cost(records)}
    if verdict is not None and verdict.finalists:
        figures["confirmation"] = _confirmation(verdict, metric)
    return {name: figure.to_json() for name, figure in figures.items() if figure is not None}


def _figure(title: str, subtitle: str, x: str, y: str, **layout: Any) -> go.Figure:
    import plotly.graph_objects as go

    words = f"{escape(title)}<br><span style='font-size:12px;color:#666'>{escape(subtitle)}</span>"
    grid = {"gridcolor": "#e8e8e8", "zeroline": False, "linecolor": "#999", "ticks": "outside", "automargin": True}
    figure = go.Figure()
    figure.update_layout(
        template=None,
        title={"text": words, "x": 0.02, "xanchor": "left", "font": {"size": 16}},
        xaxis={**grid, "title": {"text": escape(x)}},
        yaxis={**grid, "title": {"text": escape(y)}},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 70, "r": 24, "t": 80, "b": 60},
        hoverlabel={"align": "left"},
        **layout,
    )
    return figure


# --- best so far ------------------------------------------------------------------------------------------------------


def _best_so_far(records: Sequence[TrialRecord], metric: Metric) -> go.Figure | None:
    found = history(records, metric)
    if not found.points:
        return None
    plain = [each for each in found.points if each.value is not None and not each.improved]
    failed = [each for each in found.points if each.value is None]
    figure = _figure(
        f"Best {metric.name} so far", _summary(found.points, found.best), "trials that have ended", metric.name
    )
    figure.update_layout(legend=_BELOW)
    dots = thinned(plain, MOST_DOTS)
    figure.add_scatter(
        x=[each.order for each in dots],
        y=[_rounded(each.value) for each in dots],
        customdata=[each.number for each in dots],
        mode="markers",
        marker={"color": GREY, "size": 6, "opacity": 0.55},
        name="no better",
        hovertemplate="trial %{customdata}: %{y:.6f}<extra></extra>",
    )
    _add_failures(figure, thinned(failed, MOST_DOTS))
    if found.baseline is not None:
        line, words = {"color": "#666", "dash": "dot", "width": 1}, {"size": 10, "color": "#666"}
        figure.add_hline(
            y=found.baseline, line=line, annotation={"text": "baseline", "font": words, "yanchor": "bottom"}
        )
    if found.steps:
        frame = _frame(found, metric)
        figure.update_xaxes(range=frame.x)
        figure.update_yaxes(range=frame.y, selector={"overlaying": None})
        _add_steps(figure, found.steps, found.points[-1].order, metric, frame)
    return figure


@dataclass(frozen=True, slots=True)
class Frame:
    """What the axes span."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return a point as shares of width and height."""
        return (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])


def _frame(found: History, metric: Metric) -> Frame:
    """Return axes that leave out a few far worse values; zooming out shows them."""
    values = sorted((t.value for t in found.points if t.value is not None), reverse=metric.direction != "minimize")
    worst = values[int(WORTH * (len(values) - 1))] if len(values) >= CROWD else values[-1]
    if found.baseline is not None and metric.better(worst, than=found.baseline):
        worst = found.baseline
    low, high = sorted((values[0], worst))
    room = abs(high - low) or abs(high) / 100 or 1.0
    below, above = (0.25, 0.08) if metric.direction == "minimize" else (0.1, 0.2)  # labels stand beyond the steps
    end = found.points[-1].order
    return Frame((1 - 0.02 * end - 0.5, 1.03 * end + 0.5), (low - below * room, high + above * room))


def _summary(tried: Sequence[HistoryPoint], best: HistoryPoint | None) -> str:
    complete = sum(each.value is not None for each in tried)
    counts = f"{amount(len(tried), 'trial')} ended, {complete} of them complete"
    return counts + (f"; the best single value is {value_text(best.best)}, of trial {best.number}" if best else "")


def _add_failures(figure: go.Figure, failed: Sequence[HistoryPoint]) -> None:
    """Add a row of marks at the lower edge: failed trials have no value."""
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    figure.add_scatter(
        x=[each.order for each in failed],
        y=[0.02] * len(failed),
        yaxis="y2",
        customdata=[[each.number, escape(style_of(each.ending).label)] for each in failed],
        mode="markers",
        marker={
            "color": [style_of(each.ending).colour for each in failed],
            "symbol": [style_of(each.ending).symbol for each in failed],
            "size": 8 if len(failed) < CROWDED else 5,
            "opacity": 0.8,
        },
        name="no value",
        hovertemplate="trial %{customdata[0]}: %{customdata[1]}<extra></extra>",
    )


def _add_steps(figure: go.Figure, steps: Sequence[HistoryPoint], end: int, metric: Metric, frame: Frame) -> None:
    figure.add_scatter(
        x=[*(each.order for each in steps), end],
        y=[*(each.best for each in steps), steps[-1].best],
        mode="lines",
        line={"color": ACCENT, "shape": "hv", "width": 2},
        name="best so far",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[each.order for each in steps],
        y=[each.best for each in steps],
        customdata=[[each.number, escape(_describe(each, len(each.changed)))] for each in steps],
        mode="markers",
        marker={"color": ACCENT, "size": 9, "line": {"color": "white", "width": 1}},
        name="better",
        hovertemplate="trial %{customdata[0]}: %{y:.6f}<br>%{customdata[1]}<extra></extra>",
    )
    for step, right in _labelled(steps, metric, frame):
        figure.add_annotation(
            x=step.order,
            y=step.best,
            text=escape(_label(step)),
            font={"size": 10, "color": ACCENT},
            showarrow=False,
            xanchor="left" if right else "right",
            yanchor="top" if metric.direction == "minimize" else "bottom",
        )


def _labelled(steps: Sequence[HistoryPoint], metric: Metric, frame: Frame) -> list[tuple[HistoryPoint, bool]]:
    """Return the improvements with room for a label, the latest first, and whether it stands to the right of its step.

    To the left, beyond the steps, only other labels can be in the way; to the right, the next step.
    """
    found: list[tuple[HistoryPoint, bool]] = []
    taken: list[tuple[float, float, float, float]] = []
    towards = -metric.sign
    for i, step in reversed(list(enumerate(steps))):
        x, y = frame.at(step.order, step.best or 0.0)
        width = CHARACTER * len(_label(step))
        following = frame.at(steps[i + 1].order, 0.0)[0] if i + 1 < len(steps) else 1.0
        right = x < width
        box = (x, x + width) if right else (x - width, x)
        low, high = sorted((y, y + towards * LINE))
        crossed = any(box[0] < b and a < box[1] and low < d and c < high for a, b, c, d in taken)
        if not crossed and (not right or box[1] < following):
            found.append((step, right))
            taken.append((*box, low, high))
    return found


def _label(step: HistoryPoint) -> str:
    both = _describe(step, 2)
    return both if len(both) <= LABEL else _describe(step, 1)


def _describe(step: HistoryPoint, most: int) -> str:
    """Return what an improvement changed, with at most `most` of its parameters by name."""
    if not step.changed:
        return "the first value"
    pairs = [f"{name} {short(before)} → {short(after)}" for name, (before, after) in list(step.changed.items())[:most]]
    return ", ".join(pairs) + (f" and {len(step.changed) - most} more" if len(step.changed) > most else "")


# --- cost, confirmation -----------------------------------------------------------------------------------------------


def _cost(records: Sequence[TrialRecord]) -> go.Figure | None:
    costs = cost(records)
    hours = sum(each.hours for each in costs)
    if not hours:
        return None
    unit, size = ("hours", 1.0) if hours >= 1 else ("minutes", 60.0) if hours >= 1 / 30 else ("seconds", 3600.0)
    trials = sum(each.trials for each in costs)
    figure = _figure(
        "What it has cost", f"{duration(3600 * hours)} of training in {amount(trials, 'trial')}, by ending", unit, ""
    )
    styles = [style_of(each.ending) for each in costs]
    figure.add_bar(
        x=[size * each.hours for each in costs],
        y=[escape(style.label) for style in styles],
        orientation="h",
        marker={"color": [style.colour for style in styles]},
        text=[f" {duration(3600 * each.hours)} in {amount(each.trials, 'trial')}" for each in costs],
        textposition="outside",
        textangle=0,
        cliponaxis=False,
        hoverinfo="y+text",
    )
    figure.update_layout(bargap=0.5 if len(costs) < WIDE else 0.2)
    figure.update_xaxes(range=[0, 1.4 * size * max(each.hours for each in costs)])  # room for the words
    figure.update_yaxes(autorange="reversed")
    return figure


def _confirmation(verdict: Verdict, metric: Metric) -> go.Figure:
    figure = _figure(
        "Are the winners real?",
        f"gain over the baseline with other seeds, {verdict.level:.0%} intervals; grey: too small to tell from noise".replace(
            "%", " %"
        ),
        f"gain in {metric.name}",
        "",
    )
    figure.add_vrect(x0=-verdict.floor, x1=verdict.floor, fillcolor=GREY, opacity=0.2, line_width=0)
    figure.add_vline(x=0, line={"color": "#666", "dash": "dot", "width": 1})
    colours = {VerdictState.CONFIRMED: ACCENT, VerdictState.CANDIDATE: "#666", VerdictState.LUCK: GREY}
    for state, colour in colours.items():
        _add_finalists(figure, [each for each in verdict.finalists if each.state is state], colour, state)
    names = [f"trial {each.number}" for each in reversed(verdict.finalists)]
    figure.update_yaxes(categoryorder="array", categoryarray=names, range=[-0.6, len(names) - 0.4])
    figure.update_layout(legend=_BELOW)
    return figure


def _add_finalists(figure: go.Figure, finalists: Sequence[Finalist], colour: str, name: str) -> None:
    figure.add_scatter(
        x=[each.gain for each in finalists],
        y=[f"trial {each.number}" for each in finalists],
        error_x={
            "type": "data",
            "array": [each.high - each.gain for each in finalists],
            "arrayminus": [each.gain - each.low for each in finalists],
            "color": colour,
        },
        mode="markers",
        marker={"color": colour, "size": 10},
        name=name,
        hovertemplate="%{y}: %{x:.6f}<extra></extra>",
    )


def _rounded(value: float | None) -> float | None:
    return value and float(f"{value:.7g}")  # more digits would only make the page larger


def thinned(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the items, evenly spread, the last one among them."""
    if len(items) <= most:
        return list(items)
    return [items[len(items) - 1 - round(i * (len(items) - 1) / (most - 1))] for i in range(most)][::-1]

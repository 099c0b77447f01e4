"""The figures of the report: each function makes a drawing of numbers from `data.py` or `importance.py`.

Every axis names its quantity and unit, and says which way is better. Endings differ in colour and shape; one colour is kept for
improvements. It opens and writes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from optimize.reporting.figures.data import Dot, EndingCost, History, HistoryPoint, LearningCurve, Slice
from optimize.reporting.figures.importance import Importances
from optimize.reporting.figures.style import (
    ACCENT,
    GREY,
    INK,
    LINE,
    MOST_DOTS,
    Draw,
    Finish,
    Label,
    in_order,
    line_boxes,
    place_labels,
    style_of,
)
from optimize.text import short
from optimize.trial import Metric
from storage import Stored

WORST = 0.9  # share of the values that an axis shows at least, so that one bad trial does not flatten all others
NEAR, FAR = 1.6, 4.0  # within so many times their range the worst value, and the baseline, are shown as well
UNITS = {"val_bpb": "bits per byte"}  # of well-known metrics
ROOM = 0.26  # of the axis, beyond the best value, for labels
JITTER = 0.22  # of the distance between two choices


def better(metric: Metric) -> str:
    """Return `val_bpb, bits per byte (lower is better)`."""
    unit = f", {UNITS[metric.name]}" if metric.name in UNITS else ""
    return f"{metric.name[:40]}{unit} ({'lower' if metric.direction == 'minimize' else 'higher'} is better)"


def label(value: Stored) -> str:
    """Return a parameter's value as a short text for an axis."""
    text = short(value)
    return text if len(text) <= 18 else f"{text[:16]}.."


def shown_range(
    values: Sequence[float], metric: Metric, room: float = ROOM, baseline: float | None = None
) -> tuple[float, float]:
    """Return the limits of an axis: from the best value to most of the others, and to the baseline unless it is far off.

    `room` is added beyond the best value, as a share of the span.
    """
    sign = metric.sign
    ranked = sorted(sign * value for value in values)
    best, bad = ranked[0], ranked[min(int(WORST * len(ranked)), len(ranked) - 1)]
    usual, reach = bad - best, [bad]
    if ranked[-1] - best <= NEAR * usual:
        reach.append(ranked[-1])
    if baseline is not None and sign * baseline - best <= FAR * usual:
        reach.append(sign * baseline)
    span = max(reach) - best
    if not 1e-12 * abs(best) < span < 1e300:  # one value alone, or numbers that overflow an axis
        span = abs(best) * 0.01 or 1.0
    low, high = best - room * span, best + 1.06 * span
    return (low, high) if sign > 0 else (-high, -low)


# --- best so far ------------------------------------------------------------------------------------------------------


def progress(
    history: History, metric: Metric, labels: int, names: int = 2, rank: Mapping[str, float] | None = None
) -> Draw:
    """Draw the best value so far as a line, improvements with what they changed, other trials grey, failures below.

    At most `labels` improvements get a label, with at most `names` parameters each, those of the highest `rank` first.
    """

    def paint(axes: Axes) -> Finish:
        values = [each.value for each in history.points if each.value is not None]
        low, high = shown_range(values, metric, baseline=history.baseline)
        span = high - low
        failed = [each for each in history.points if each.value is None]
        floor = low - 0.07 * span if failed else low
        axes.set_ylim(floor, high)
        if min(values, default=0.0) >= 0 > floor:  # a loss: what is below 0 is room for words
            axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= high])
        axes.set_xlim(0, max(len(history.points), 5) + 1)
        others = [each for each in history.points if each.value is not None and not each.improved]
        _dots(axes, others, low, high)
        _rug(axes, failed, floor + 0.03 * span)
        _draw_steps(axes, history)
        if history.baseline is not None:
            axes.axhline(
                history.baseline, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1.5, label="baseline"
            )
        axes.set_xlabel("trials, in the order in which they ended")
        axes.set_ylabel(better(metric))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_below(axes)
        return lambda: _label_steps(axes, history, metric, labels, names, rank or {})

    return paint


def _dots(axes: Axes, others: Sequence[HistoryPoint], low: float, high: float) -> None:
    inside = [each for each in others if each.value is not None and low <= each.value <= high]
    beyond = [each for each in others if each not in inside]
    few = len(others) <= MOST_DOTS
    xs, ys = [each.order for each in inside], [each.value or 0.0 for each in inside]
    size = 18 if few else 9
    axes.scatter(
        xs, ys, s=size, c=GREY, alpha=0.6, linewidths=0, rasterized=not few, label=f"no improvement ({len(others)})"
    )
    for marker, edge, far in (("^", high, max), ("v", low, min)):
        out = [each.order for each in beyond if each.value is not None and far(each.value, edge) == each.value]
        if out:
            axes.scatter(out, [edge] * len(out), s=20, marker=marker, facecolors="none", edgecolors=GREY, clip_on=False,
                         rasterized=not few, label=f"beyond the axis ({len(out)})")  # fmt: skip


def _rug(axes: Axes, failed: Sequence[HistoryPoint], y: float) -> None:
    for ending in in_order(each.ending for each in failed):
        style, xs = style_of(ending), [each.order for each in failed if each.ending == ending]
        axes.scatter(xs, [y] * len(xs), s=16, c=style.colour, marker=style.marker, linewidths=0.4, alpha=0.8,
                     rasterized=len(failed) > MOST_DOTS, label=f"{style.label} ({len(xs)})")  # fmt: skip


def _draw_steps(axes: Axes, history: History) -> None:
    if not history.steps:
        return
    xs, ys = zip(*_corners(history), strict=True)
    axes.plot(xs, ys, color=ACCENT, linewidth=1.8, zorder=3, label="best so far")
    steps = history.steps
    axes.scatter([s.order for s in steps], [s.best or 0.0 for s in steps], s=34, c=ACCENT, edgecolors="white", linewidths=0.8,
                 zorder=4, label=f"improvement ({len(steps)})")  # fmt: skip


def _corners(history: History) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    for step in history.steps:
        if corners:
            corners.append((step.order, corners[-1][1]))
        corners.append((step.order, step.best or 0.0))
    return [*corners, (len(history.points), corners[-1][1])]


def _label_steps(
    axes: Axes, history: History, metric: Metric, most: int, names: int, rank: Mapping[str, float]
) -> None:
    steps, low_high = history.steps, axes.get_ylim()
    if not steps:
        return
    gains = {after.number: abs((before.best or 0.0) - (after.best or 0.0)) for before, after in pairwise(steps)}
    by_gain = sorted(steps[1:-1], key=lambda step: -gains[step.number])
    wanted = [*steps[-1:], *by_gain][:most] if len(steps) > 1 or history.baseline is None else []
    labels = [
        Label(step.order, step.best or 0.0, step_text(step, names, rank))
        for step in wanted
        if low_high[0] <= (step.best or 0.0) <= low_high[1]
    ]
    taken = line_boxes(axes, _corners(history))
    place_labels(axes, labels, taken, downwards=metric.direction == "minimize", colour=ACCENT)


def step_text(step: HistoryPoint, names: int, rank: Mapping[str, float]) -> str:
    """Return what an improvement changed, a line for each parameter, those of the highest `rank` first."""
    if not step.changed:
        return "baseline" if step.record.kind == "baseline" else f"trial {step.number}"
    first = sorted(step.changed, key=lambda name: -rank.get(name, 0.0))[:names]
    texts = [f"{name[:28]} {label(step.changed[name][0])}→{label(step.changed[name][1])}" for name in first]
    more = len(step.changed) - len(first)
    return "\n".join(texts) + (f"\nand {more} more" if more else "")


# --- learning curves --------------------------------------------------------------------------------------------------


def learning(found: Sequence[LearningCurve], best: int | None, x_label: str) -> Draw:
    """Draw the train loss of every trial over its budget, by ending, the best trial in the colour of improvements."""

    def paint(axes: Axes) -> Finish:
        many = len(found) > MOST_DOTS
        for ending in in_order(curve.ending for curve in found):
            style = style_of(ending)
            mine = [curve for curve in found if curve.ending == ending and curve.number != best]
            lines = [np.column_stack([curve.steps, curve.losses]) for curve in mine]
            quiet = ending == "complete"
            axes.add_collection(LineCollection(lines, colors=GREY if quiet else style.colour, alpha=0.35 if quiet else 0.7,
                                               linewidths=0.7, rasterized=many))  # fmt: skip
            axes.scatter([c.steps[-1] for c in mine], [c.losses[-1] for c in mine], s=8 if quiet else 16, marker=style.marker,
                         c=GREY if quiet else style.colour, linewidths=0.3, alpha=0.5 if quiet else 0.9, rasterized=many,
                         label=f"{style.label} ({len(mine)})")  # fmt: skip
        for curve in found:
            if curve.number == best:
                axes.plot(curve.steps, curve.losses, color=ACCENT, linewidth=2, marker="o", markersize=4, zorder=4,
                          label=f"the best, trial {best}")  # fmt: skip
        losses = np.array([loss for curve in found for loss in curve.losses])
        low, high = float(losses.min()), float(np.quantile(losses, 0.98))
        axes.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.05 * (high - low or 1.0))
        steps = [step for curve in found for step in curve.steps]
        axes.set_xlim(min(*steps, 0), max(*steps, 1) * 1.02)
        axes.set_xlabel(x_label)
        axes.set_ylabel("train loss" if "budget" in x_label else "reported value")
        _legend_below(axes)
        return None

    return paint


# --- one parameter ----------------------------------------------------------------------------------------------------


def parameter(one: Slice, metric: Metric, limits: tuple[float, float], best: int | None, baseline: Stored) -> Draw:
    """Draw the metric over one parameter: every completed trial a dot, the median of each choice a bar, the best marked."""

    def paint(axes: Axes) -> Finish:
        chance = random.Random(one.name)
        seen = [dot for dot in one.dots if limits[0] <= dot.value <= limits[1]]
        spread = JITTER if one.choices else 0.0
        at = {dot.number: dot.at + chance.uniform(-spread, spread) for dot in seen}
        many = len(seen) > MOST_DOTS
        axes.scatter([at[d.number] for d in seen], [d.value for d in seen], s=12 if not many else 7, c=GREY, alpha=0.55,
                     linewidths=0, rasterized=many)  # fmt: skip
        _beyond(axes, [dot for dot in one.dots if dot not in seen], limits)
        for i, middle in enumerate(one.medians):
            if middle is not None:
                axes.plot(
                    [i - 0.3, i + 0.3], [middle, middle], color=style_of("complete").colour, linewidth=2.2, zorder=3
                )
        for dot in (dot for dot in seen if dot.number == best):
            axes.scatter(
                [at[dot.number]], [dot.value], s=60, c=ACCENT, marker="*", edgecolors="white", linewidths=0.6, zorder=4
            )
        axes.set_ylim(limits)
        axes.set_title(one.name if len(one.name) <= 34 else f"{one.name[:32]}..")
        _choice_axis(axes, one, baseline)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x", visible=not one.choices)
        return None

    return paint


def _beyond(axes: Axes, dots: Sequence[Dot], limits: tuple[float, float]) -> None:
    """Draw marks at the edge for dots off the axis, so that a choice that was never good does not seem untried."""
    for marker, edge, side in (("^", limits[1], [d for d in dots if d.value > limits[1]]),
                               ("v", limits[0], [d for d in dots if d.value < limits[0]])):  # fmt: skip
        axes.scatter([dot.at for dot in side], [edge] * len(side), s=18, marker=marker, facecolors="none", edgecolors=GREY,
                     linewidths=0.8, clip_on=False, rasterized=len(side) > MOST_DOTS)  # fmt: skip


def _choice_axis(axes: Axes, one: Slice, baseline: Stored) -> None:
    if one.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))  # matplotlib's own writes TeX
        axes.xaxis.set_minor_formatter(NullFormatter())
    if not one.choices:
        return
    texts = [label(choice) for choice in one.choices]
    long = sum(map(len, texts)) > 30
    axes.set_xticks(range(len(texts)), texts, rotation=30 if long else 0, ha="right" if long else "center",
                    rotation_mode="anchor", fontsize="small")  # fmt: skip
    axes.set_xlim(-0.6, len(texts) - 0.4)
    default = one.index(baseline)
    if default is not None:
        axes.get_xticklabels()[int(default)].set_fontweight("bold")
        axes.axvspan(default - 0.42, default + 0.42, color=LINE, alpha=0.35, linewidth=0, zorder=0)


# --- importance and cost ----------------------------------------------------------------------------------------------


def importance(found: Importances) -> Draw:
    """Draw a bar for each parameter, and a mark below which luck alone stays."""

    def paint(axes: Axes) -> Finish:
        of = found.of[::-1]
        names = [each.name if len(each.name) <= 24 else f"{each.name[:22]}.." for each in of]
        sure = style_of("complete").colour
        colours = [sure if each.share > each.luck else GREY for each in of]
        axes.barh(range(len(of)), [100 * each.share for each in of], color=colours, height=0.62)
        axes.scatter([100 * each.luck for each in of], range(len(of)), marker="|", s=90, c=INK, linewidths=1.4, zorder=3,
                     label="luck stays below this, 19 times of 20")  # fmt: skip
        axes.set_yticks(range(len(of)), names, fontsize="small")
        axes.set_ylim(-0.6, len(of) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left=0)
        axes.set_xlabel("share of importance (%)")
        _legend_below(axes)
        return None

    return paint


def spent(costs: Sequence[EndingCost], unit: str) -> Draw:
    """Draw device-hours by ending, with the number of trials. `unit` names the device."""

    def paint(axes: Axes) -> Finish:
        of, scale = costs[::-1], hours_scale(costs)
        hours = [scale[0] * cost.hours for cost in of]
        axes.barh(range(len(of)), hours, color=[style_of(cost.ending).colour for cost in of], height=0.62)
        for i, cost in enumerate(of):
            text = f" {hours[i]:.3g} {scale[1]}, {cost.trials} trial{'s' if cost.trials != 1 else ''}"
            axes.text(hours[i], i, text, va="center", fontsize="small")
        axes.set_yticks(range(len(of)), [style_of(cost.ending).label for cost in of], fontsize="small")
        axes.set_ylim(-0.6, len(of) - 0.4)
        axes.set_xlim(0, max([*hours, 0.001]) * 1.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{unit}-{'hours' if scale[1] == 'h' else 'minutes'}")
        return None

    return paint


def hours_scale(costs: Sequence[EndingCost]) -> tuple[float, str]:
    """Return by what to multiply hours, and the unit's sign: minutes where all costs are below an hour and a half."""
    return (1.0, "h") if sum(cost.hours for cost in costs) >= 1.5 else (60.0, "min")


def _legend_below(axes: Axes) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    columns = max(2, int(figure.get_figwidth() / 1.9))
    handles, texts = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, texts, loc="outside lower center", ncols=min(columns, len(handles)))

"""What `gpu.py` says at its end: a line for each figure, a JSON file, a short report in Markdown, and which attention is faster."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gpu_figures import FAIL, KINDS, MISSING, Figure, verdict
from gpu_sizes import DEFAULT
from gpu_speed import LEAST_ELSEWHERE, LEAST_GAIN

SCHEMA = 1


@dataclass(frozen=True)
class PieceEnd:
    """How a piece ended: `why` is "" where it came to its end."""

    name: str
    seconds: float
    why: str = ""
    said: str = ""  # the end of its log


@dataclass(frozen=True)
class Report:
    """All that was found. `on_gpu`: whether figures of speed and memory are judged."""

    date: str
    command: str
    on_gpu: bool
    figures: Sequence[Figure]
    facts: Mapping[str, str]
    pieces: Sequence[PieceEnd]

    @property
    def missed(self) -> list[Figure]:
        return [each for each in self.figures if verdict(each, self.on_gpu) == FAIL]

    @property
    def failed(self) -> list[PieceEnd]:
        return [each for each in self.pieces if each.why]

    @property
    def code(self) -> int:
        """Return the exit code: 0 if every piece came to its end and every bound is kept."""
        return 1 if self.missed or self.failed else 0

    def line(self, figure: Figure) -> str:
        """Return one figure with its bound, its verdict first."""
        bound = KINDS[figure.kind]
        value = "-" if figure.value is None else f"{figure.value:.4g}"
        what = f"{bound.title}; {figure.note}".strip("; ")
        return f"{verdict(figure, self.on_gpu):<12} {figure.name:<44} {value:>9} {bound.unit:<4} {bound!s:<16} {what}"

    def decision(self) -> str:
        """Return what ATTENTION in train.py should be, and why."""
        return decide(self.figures, self.facts)

    def end(self) -> str:
        """Return the last lines."""
        lines = [f"{each.name}: {each.why}" for each in self.failed]
        lines += [
            "missed: " + "; ".join(f"{each.name} {each.value:.4g}, not {KINDS[each.kind]}" for each in self.missed)
        ] * bool(self.missed)
        lines.append(f"decision: {self.decision()}")
        return "\n".join([*lines, " ".join(f"{each.name.replace(' ', '')}={each.value:.4g}" for each in self.measured)])

    @property
    def measured(self) -> list[Figure]:
        return [each for each in self.figures if each.value is not None]

    def json(self) -> str:
        """Return everything for programs; NaN is null."""
        rows = [
            {**asdict(each), "value": each.value if each.value is not None and math.isfinite(each.value) else None,
             "unit": KINDS[each.kind].unit, "bound": str(KINDS[each.kind]), "verdict": verdict(each, self.on_gpu)}
            for each in self.figures
        ]  # fmt: skip
        head = {"schema": SCHEMA, "date": self.date, "command": self.command, "exit_code": self.code}
        pieces = [asdict(each) for each in self.pieces]
        return json.dumps(
            {**head, "decision": self.decision(), "facts": dict(self.facts), "pieces": pieces, "figures": rows},
            indent=1,
        )

    def markdown(self) -> str:
        """Return the report that a user can send."""
        kept = sum(verdict(each, self.on_gpu) == "pass" for each in self.figures)
        lines = [
            "# A check of the GPU" if self.on_gpu else "# A rehearsal on a CPU: it says nothing of a GPU",
            "",
            f"`{self.command}`, {self.date}. {kept} bounds kept, {len(self.missed)} missed, {len(self.failed)} pieces failed.",
            "",
            f"**Attention**: {self.decision()}",
            "",
            *(f"- {name}: {text}" for name, text in self.facts.items()),
            "",
            "| | figure | value | bound | what |",
            "|---|---|---|---|---|",
            *map(self._row, self.figures),
            "",
            "| piece | seconds | |",
            "|---|---|---|",
            *(f"| {each.name} | {each.seconds:.0f} | {_cell(each.why)} |" for each in self.pieces),
        ]
        for each in self.failed:
            lines += ["", f"The end of what {each.name} printed:", "", "```", each.said.replace("```", "'''"), "```"]
        return "\n".join(lines).replace(str(Path.home()), "~") + "\n"

    def _row(self, figure: Figure) -> str:
        bound = KINDS[figure.kind]
        value = "" if figure.value is None else f"{figure.value:.4g} {bound.unit}".strip()
        cells = (
            verdict(figure, self.on_gpu),
            figure.name,
            value,
            str(bound),
            f"{bound.title}; {figure.note}".strip("; "),
        )
        return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def decide(figures: Sequence[Figure], facts: Mapping[str, str]) -> str:
    """Return what ATTENTION should be: varlen only where it is right, clearly faster, and nowhere clearly slower."""
    gains = {each.of: each.value for each in figures if each.kind == "varlen_gain" and each.value is not None}
    errors = [
        each
        for each in figures
        if each.kind in ("loss_error", "gradient_error", "attention_error") and "varlen" in each.of
    ]
    if DEFAULT not in gains:
        why = next(
            (each.note for each in figures if each.kind == "varlen_gain" and each.note), "varlen was not measured"
        )
        return f'ATTENTION stays "auto": {why}'
    shown = ", ".join(f"{shape} x{gain:.3f}" for shape, gain in gains.items())
    if not errors or any(verdict(each, True) != "pass" for each in errors):
        return f'ATTENTION stays "auto": varlen is not shown to be right here (tokens/s: {shown})'
    if gains[DEFAULT] >= LEAST_GAIN and min(gains.values()) >= LEAST_ELSEWHERE:
        return f'ATTENTION = "varlen" is faster on this GPU: tokens/s {shown} of auto\'s'
    return f'ATTENTION stays "auto": varlen has tokens/s {shown} of its; {LEAST_GAIN} is asked for, and {LEAST_ELSEWHERE} elsewhere'


def shown(report: Report, piece: str) -> str:
    """Return the lines of one piece's figures."""
    return "\n".join(report.line(each) for each in report.figures if KINDS[each.kind].piece == piece)


__all__ = ["MISSING", "PieceEnd", "Report", "decide", "shown"]

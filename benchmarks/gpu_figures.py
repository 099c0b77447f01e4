"""The figures of `gpu.py`: what each one is, its bound, and whether that is kept. Nothing is measured here.

A piece appends its figures to one file as it finds them, so that those it had stay when it fails or its time ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

PASS, FAIL, MEASURED, MISSING = "pass", "FAIL", "measured", "not measured"


class Bound(NamedTuple):
    """A kind of figure. Those of `on_gpu` are judged on a GPU only: a small form on a CPU says nothing of speed or memory."""

    piece: str
    title: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    on_gpu: bool = False

    def __str__(self) -> str:
        ends = [f">= {self.least:g}"] if self.least is not None else []
        return " and ".join(ends + ([f"<= {self.most:g}"] if self.most is not None else [])) or "no bound"

    def kept(self, value: float) -> bool | None:
        """Return whether `value` keeps the bound, None where there is none. NaN keeps nothing."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


KINDS: Mapping[str, Bound] = {
    "works": Bound("environment", "1: torch computes on the device", least=1),
    "has_kernels": Bound("environment", "1: this torch is built for the GPU's compute capability", least=1),
    "compiles": Bound("environment", "1: torch.compile makes a kernel that computes what it should", least=1),
    "has_compiler": Bound("environment", "1: a C compiler and Python's headers are there", least=1),
    "other_memory_mb": Bound("environment", "of the GPU, used before anything of ours runs", "MB", most=1000),
    "is_default_mode": Bound("environment", "1: compute mode Default, no MIG, no uncorrected ECC error", least=1),
    "free_disk_gb": Bound("environment", "free for caches and studies", "GB", least=5),
    "train_tokens": Bound("data", "training tokens of the docstrings of installed packages", least=100_000),
    "data_s": Bound("data", "to prepare them; next to nothing if they were there", "s"),
    "loss_error": Bound("parity", "loss of the compiled model, from the CPU's form in float32", "nats", most=0.01),
    "gradient_error": Bound("parity", "the worst parameter's gradient, relative", most=0.1),
    "update_error": Bound("parity", "the worst parameter's optimizer step, relative", most=0.1),
    "exact_loss_error": Bound("parity", "the loss, with everything in float32", "nats", most=1e-4),
    "exact_gradient_error": Bound("parity", "the worst gradient, with everything in float32", most=2e-3),
    "exact_update_error": Bound("parity", "the worst optimizer step, with everything in float32", most=5e-3),
    "attention_error": Bound("attention", "outputs and gradients, relative, from a float64 reference", most=0.02),
    "attention_ms": Bound("attention", "forwards and backwards, one layer of the shape", "ms"),
    "tokens_per_s": Bound("speed", "of training"),
    "peak_mb": Bound("speed", "largest memory while training and evaluating", "MiB"),
    "charged_flops_per_s": Bound("speed", "what a second costs of a budget of work"),
    "charged_flops_per_step": Bound("speed", "what a step costs of a budget of work"),
    "compile_cold_s": Bound("speed", "the warm-up of a shape that was never compiled here", "s", most=120, on_gpu=True),
    "compile_warm_s": Bound("speed", "the same again, in another process", "s", most=5, on_gpu=True),
    "start_s": Bound("speed", "from the process's start to its first line", "s"),
    "evaluation_s": Bound("speed", "from the last step to the end", "s"),
    "compiled_again": Bound("speed", "graphs that were compiled again after the warm-up", most=0),
    "varlen_gain": Bound("speed", "tokens/s of ATTENTION = varlen, as a share of auto's"),
    "upstream_tokens_per_s": Bound("upstream", "of training, its first 11 steps left out as it does"),
    "upstream_peak_mb": Bound("upstream", "largest memory while training", "MiB"),
    "upstream_memory": Bound("upstream", "our largest memory as a share of upstream's"),
    "share_of_upstream": Bound("upstream", "our tokens/s as a share of upstream's, default shape", least=1, on_gpu=True),
    "share_elsewhere": Bound("upstream", "the same, other shapes and other kernels"),
    "complete": Bound("study", "trials that completed, of those that can", least=1),
    "lost": Bound("study", "results from before the kill -9 that are gone or changed afterwards", most=0),
    "doubled": Bound("study", "configurations that completed twice", most=0),
    "stuck": Bound("study", "trials left running or waiting", most=0),
    "requeued": Bound("study", "trials that the kill -9 interrupted, and that were queued once more", least=1, most=1),
    "alive_s": Bound("study", "until nothing of the killed driver's was left alive", "s", most=20, on_gpu=True),
    "out_of_memory": Bound("study", "trials that ran out of memory, and were told so", least=1),
    "out_again": Bound("study", "trials that ran out of memory after the first one that did", most=0, on_gpu=True),
    "misjudged": Bound("study", "trials of which the memory model believes the opposite at the end", most=0, on_gpu=True),
    "memory_error": Bound("study", "peak memory, each predicted from the others, worst relative error", most=0.03, on_gpu=True),
    "overhead_s": Bound("study", "a trial without its training, median after the first of a shape", "s", most=5, on_gpu=True),
    "idle_between_s": Bound("study", "from a trial's end to the next one's process, median", "s", most=2, on_gpu=True),
    "training_share": Bound("study", "of the study's time, the kill and its recovery included"),
    "idle_share": Bound("study", "of the study's time, as nvidia-smi samples the GPU"),
    "at_once": Bound("shared", "trials on one device at the same moment", least=2, on_gpu=True),
    "shared_complete": Bound("shared", "trials under a budget of work that completed, of those asked for", least=1),
    "shared_gain": Bound("shared", "two at a time: how many times sooner than one after the other"),
    "confirmed": Bound("shared", "1: `confirm` came to a verdict", least=1),
    "replicates": Bound("shared", "trainings with other seeds that completed", least=4),
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure: `of` is the shape, the type or the path that it is about; without a value, `note` says why."""

    kind: str
    value: float | None
    of: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind}[{self.of}]" if self.of else self.kind


class Sheet:
    """The file in which pieces write figures, and facts that are no figures, such as a driver's version."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, kind: str, value: float, of: str = "", note: str = "") -> None:
        """Write a figure. Raises KeyError for a kind that has no line in KINDS."""
        assert KINDS[kind]
        self._write({"figure": asdict(Figure(kind, float(value), of, note))})

    def miss(self, kind: str, why: str, of: str = "") -> None:
        """Write that a figure is not measured, and why."""
        assert KINDS[kind]
        self._write({"figure": asdict(Figure(kind, None, of, why))})

    def fact(self, name: str, text: object) -> None:
        """Write something about the machine or about how it was measured."""
        self._write({"fact": [name, str(text)]})

    def figures(self) -> list[Figure]:
        """Return what was written so far, in its order."""
        return [Figure(**line["figure"]) for line in self._lines() if "figure" in line]

    def facts(self) -> dict[str, str]:
        """Return the facts by name; the last of a name counts."""
        return dict(line["fact"] for line in self._lines() if "fact" in line)

    def value(self, kind: str, of: str = "") -> float | None:
        """Return a figure's value, None where it was not measured."""
        found = [figure.value for figure in self.figures() if (figure.kind, figure.of) == (kind, of)]
        return found[-1] if found else None

    def _write(self, line: dict[str, object]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> Iterator[dict[str, Any]]:
        text = self._path.read_text() if self._path.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():  # a piece may have been killed while it wrote
            yield json.loads(line)


def verdict(figure: Figure, on_gpu: bool) -> str:
    """Return whether a figure keeps its bound."""
    bound = KINDS[figure.kind]
    if figure.value is None:
        return MISSING
    kept = bound.kept(figure.value) if on_gpu or not bound.on_gpu else None
    return MEASURED if kept is None else PASS if kept else FAIL


def with_missing(figures: list[Figure], why: Mapping[str, str]) -> list[Figure]:
    """Return the figures with a line for each kind that none is of; `why` has the reason of each piece."""
    there = {figure.kind for figure in figures}
    absent = [Figure(kind, None, "", why.get(bound.piece, "")) for kind, bound in KINDS.items() if kind not in there]
    order = list(KINDS)
    return sorted([*figures, *absent], key=lambda figure: order.index(figure.kind))

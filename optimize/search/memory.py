"""Whether a proposal will fit the device's memory, learned from the trials that ran.

It knows nothing of a GPU but its size, and nothing of a script but its expression `memory`. A device without memory of its
own, such as a CPU, has none of this. The arithmetic is in `memory_models.py`; the `Chooser` passes over what is unlikely to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import TYPE_CHECKING

from optimize.trial import TrialStatus, Value
from search_spaces import Parameter, SearchSpace

if TYPE_CHECKING:  # numpy is imported when there is something to compute
    from optimize.search.memory_models import Affine, Multiplicative

Score = Callable[[Mapping[str, Value]], float | None]
"""The value of the workload's own expression, to which peak memory is nearly affine; None where it has none."""

UNLIKELY = 0.25  # proposals that fit with less than this probability are passed over
MOST = 1.05  # of the device's memory: a peak above it is counted in some other way, and says nothing
_MIB_TO_MB = 1.048576  # scripts print peak_vram_mb in units of 2**20 bytes, as torch's users do


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one trial has shown of memory: whether it fitted, and its peak where the script printed one."""

    fitted: bool
    peak_mb: float = 0.0  # MB of 10**6 bytes


def footprint(state: str, status: str, summary: Mapping[str, float | str]) -> Footprint | None:
    """Return what an ending shows of memory; None for the endings that show nothing, as most failures do.

    A FAIL never does: a trial that ran out of memory beside another trial on its GPU may fit alone.
    """
    if state == "FAIL":
        return None
    if status == TrialStatus.OUT_OF_MEMORY:
        return Footprint(fitted=False)
    if status != TrialStatus.COMPLETE:
        return None
    peak = summary.get("peak_vram_mb")
    if not isinstance(peak, int | float) or not isfinite(peak) or peak < 0:
        return Footprint(fitted=True)
    return Footprint(True, peak * _MIB_TO_MB)


class Memory:
    """Learn, in one study, how much memory parameters need. `device_mb` is in MB of 10**6 bytes."""

    def __init__(self, space: SearchSpace, score: Score | None, device_mb: float) -> None:
        self._score, self._device_mb = score, device_mb
        self._scales = [scale for parameter in space.parameters if (scale := _scale(parameter))]
        self._model: Affine | Multiplicative | None = None
        self._trials = self._full = 0

    def learned(self, params: Mapping[str, Value], seen: Footprint) -> None:
        """Take in what one trial has shown."""
        share = seen.peak_mb / self._device_mb if self._device_mb else 0.0
        features = self._features(params)
        if features is None:
            return
        self._trials, self._full = self._trials + 1, self._full + (not seen.fitted)
        self._model = self._model or self._begin(features)
        self._model.learned(features, seen.fitted, share if share <= MOST else 0.0)

    def unlikely_to_fit(self, params: Mapping[str, Value]) -> bool:
        """Tell whether these parameters probably do not fit. Never true before a trial has pointed to a limit."""
        return self.probability(params) < UNLIKELY

    def probability(self, params: Mapping[str, Value]) -> float:
        """Return the probability that these parameters fit."""
        features = self._features(params) if self._model else None
        return 1.0 if features is None or self._model is None else self._model.probability(features)

    def __str__(self) -> str:
        """Return what is known in one line; "" while that is nothing."""
        if not self._model:
            return ""
        return f"memory: {self._full} of {self._trials} trials ran out of it; {self._model}"

    def _features(self, params: Mapping[str, Value]) -> Sequence[float] | None:
        if self._score:
            score = self._score(params)
            return None if score is None else (score,)
        return [scale(params[name]) for name, scale in self._scales] or None

    def _begin(self, features: Sequence[float]) -> Affine | Multiplicative:
        from optimize.search.memory_models import Affine, Multiplicative

        return Affine(features[0]) if self._score else Multiplicative(len(features))


def _scale(parameter: Parameter) -> tuple[str, Callable[[Value], float]] | None:
    """Return a numeric parameter's name and its distance from the middle of its choices, as a logarithm if all are positive."""
    numbers = [float(c) for c in parameter.choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < len(parameter.choices) or len(numbers) < 2:
        return None
    low, high = min(numbers), max(numbers)
    if low > 0:
        return parameter.name, lambda value: log(_float(value)) - log(low * high) / 2
    return parameter.name, lambda value: (_float(value) - (low + high) / 2) / (high - low)


def _float(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)

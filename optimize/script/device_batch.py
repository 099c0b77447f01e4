"""The constant that says how much of a batch goes through the device at a time, while a script accumulates up to a fixed total.

It can be smaller on a smaller GPU without changing what is trained. This module knows names and numbers only; when it becomes
smaller is said in `study/baseline_fit.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optimize.text import meant
from optimize.trial import Value
from search_spaces import SearchSpace, SearchSpaceError

USUAL, TOTAL = "DEVICE_BATCH_SIZE", "TOTAL_BATCH_SIZE"  # autoresearch's names, and those of its forks
MOST_PARTS = 1 << 12  # of a device batch


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """The device batch of a study whose baseline did not fit the GPU with those before it, the script's own first."""

    name: str
    value: int
    too_large: tuple[int, ...]

    @property
    def own(self) -> int:
        """The device batch of the script, or of the profile."""
        return self.too_large[0]

    def __str__(self) -> str:
        return f"{self.name} {self.value} instead of {self.own}, which did not fit the GPU's memory"


def name_of_device_batch(said: str | None, constants: Mapping[str, Value]) -> str:
    """Return the constant that is the device batch, "" if there is none.

    `said` is what workload.toml says of it, None where that is nothing: then it is the usual name, if the total has its own, too.
    """
    name = USUAL if said is None and TOTAL in constants else said or ""
    return name if _is_batch(constants.get(name)) else ""


def wrong_device_batch(said: str | None, constants: Mapping[str, Value], folder: Path) -> list[str]:
    """Return a line if what the folder's workload.toml says of it is no constant that can be a batch."""
    if not said or _is_batch(constants.get(said)):
        return []
    where, hint = folder / "workload.toml", "" if said in constants else meant(said, constants)
    return [
        f"{where}: device_batch: no constant of the script is called {said} and a whole number above 0. Correct it.{hint}"
    ]


def _is_batch(value: Value) -> bool:
    return type(value) is int and value > 0


def smaller_batch(
    name: str, space: SearchSpace, constants: Mapping[str, Value], baseline: Mapping[str, Value]
) -> int | None:
    """Return the next smaller device batch for the baseline, half of it where that is possible; None if there is none.

    It divides the present one, so that it divides every total that the present one divides. If it is a parameter, it is one of
    its choices. It keeps every rule.
    """
    values = {**constants, **baseline}
    now = values[name]
    assert isinstance(now, int)
    choices = space[name].choices if name in space.names else None
    for part in _parts(now):
        if choices is not None and part not in choices:
            continue
        with suppress(SearchSpaceError):
            if space.feasible({each: {**values, name: part}[each] for each in space.names}, {**values, name: part}):
                return part
    return None


def _parts(batch: int) -> Iterator[int]:
    """Yield the numbers that divide a batch, from half of it downwards."""
    return (batch // count for count in range(2, min(batch, MOST_PARTS) + 1) if batch % count == 0)

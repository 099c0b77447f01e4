"""Reads when a running trial is ended: the table [limits], of a workload or of a profile."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from optimize.toml import Table
from optimize.trial import Limits

NAMES = tuple(each.name for each in fields(Limits))


def read_limits(table: Table) -> dict[str, Any]:
    """Return the limits that the table sets, by their names in `Limits`. The caller finishes it."""
    found = {name: table.number(name, None) for name in NAMES}
    return {name: value for name, value in found.items() if value is not None}


def refuse_limits_outside(table: Table) -> None:
    """Report limits that stand in the table of a workload itself."""
    for name in filter(table.has, NAMES):
        table.number(name, None)
        table.problems.append(f"{table.where}: {name}: is a limit. Write it under [limits].")

"""What makes the values of a study comparable: scripts, search space, constants, data and metric, each hashed on its own.

Compared when a study is reopened, before anything is asked; it decides nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from optimize.errors import StudyMismatchError
from optimize.trial import Value
from optimize.workload import Workload
from search_spaces import SearchSpace

_ADVICE = {
    "script": "the scripts have changed (comments and layout do not count)",
    "search space": "the choices or rules have changed",
    "constants": "the profile's constants have changed",
    "data": "the prepared data or the tokenizer is another",
    "metric": "the metric or its direction is another",
}


def fingerprint(workload: Workload, space: SearchSpace, constants: Mapping[str, Value], data: str) -> dict[str, str]:
    """One short text per part; equal parts mean comparable values."""
    return {
        "script": workload.fingerprint(),
        "search space": space.fingerprint(),
        "constants": hashlib.sha256(repr(sorted(constants.items())).encode()).hexdigest()[:16],
        "data": data,
        "metric": f"{workload.metric.direction} {workload.metric.name}",
    }


def check_fingerprint(study: str, stored: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise StudyMismatchError with a line for each part that differs."""
    lines = [
        f"study {study}: {_ADVICE[part]}: its values would not be comparable. "
        "Go back to what it was, or start a new study with STUDY=another-name."
        for part in wanted
        if stored.get(part) != wanted[part]
    ]
    if lines:
        raise StudyMismatchError(*lines)

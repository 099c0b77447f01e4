"""Finished studies for tests of what is shown of them: put into a database at once, without a driver."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from optimize.study.comparable import CONSTANTS, FINGERPRINT
from optimize.study.stored import StoredStudy, find_study
from optimize.trial import BASELINE
from storage import Database, Stored, WholeTrial, add_trials, condemned_attrs, ending_attrs, origin_attrs
from storage.sql import param_row

CHOICES: dict[str, list[Stored]] = {
    "DEPTH": [2, 4, 8, 16],
    "BATCH": [128, 16, 32],  # on purpose neither rising nor in the order of text
    "MATRIX_LR": [0.01, 0.02, 0.04],
    "ADAM_BETAS": ["(0.8, 0.95)", "(0.9, 0.95)"],
    "WINDOW": ["SL", "L"],
}
DEFAULT: dict[str, Stored] = {name: choices[0] for name, choices in CHOICES.items()}
FAILURES = ("out_of_memory", "diverged", "hopeless", "crashed", "timed_out")
STATES = {"complete": "COMPLETE", "crashed": "FAIL"}
BEGAN = datetime(2026, 3, 1, 20)
ABOUT = {BASELINE: DEFAULT, CONSTANTS: {"MAX_SEQ_LEN": 256}, FINGERPRINT: {"script": "0"}}


def whole_trial(
    number: int,
    status: str,
    value: float | None,
    params: dict[str, Stored] | None = None,
    choices: dict[str, list[Stored]] | None = None,
    **ending: Any,
) -> WholeTrial:
    """A trial of five minutes, one every six."""
    params, choices = params or DEFAULT, choices or CHOICES
    began = BEGAN + timedelta(minutes=6 * number)
    told = {"reason": "", "seconds": 300.0, "slot": "cpu:0", "device": "a CPU", **ending}
    reached = 100 if value is not None else 50
    return WholeTrial(
        STATES.get(status, "PRUNED"),
        params,
        [param_row(name, each, choices[name]) for name, each in params.items()],
        attrs=origin_attrs("sampler" if number else "baseline")
        | ending_attrs(status, **told)
        | (condemned_attrs("hopeless") if status == "hopeless" else {}),
        values=[] if value is None else [value],
        curve={p: 6 - p / 25 + 0.01 * (number % 7) for p in range(10, reached, 10)},
        started=began,
        finished=began + timedelta(minutes=5),
    )


def many_trials(count: int, failing: float = 0.25) -> list[WholeTrial]:
    """The baseline, and trials whose value depends on DEPTH most, on MATRIX_LR a little and on luck."""
    chance, trials = random.Random(7), [whole_trial(0, "complete", 2.0)]
    for number in range(1, count):
        params = {name: chance.choice(choices) for name, choices in CHOICES.items()}
        if chance.random() < failing:
            status = chance.choice(FAILURES)
            trials.append(whole_trial(number, status, None, params, reason=f"because it is {status}"))
        else:
            value = 1.2 + 0.1 * CHOICES["DEPTH"].index(params["DEPTH"]) + chance.gauss(0, 0.02)
            value += 0.02 * CHOICES["MATRIX_LR"].index(params["MATRIX_LR"])
            trials.append(whole_trial(number, "complete", round(value, 6), params))
    return trials


def stored_study(
    database: Database,
    runs: Path,
    trials: Sequence[WholeTrial],
    name: str = "s",
    direction: str = "minimize",
    metric: str = "val_bpb",
    about: dict[str, Any] | None = None,
) -> StoredStudy:
    """A study with these trials, as `optimize report` finds it."""
    study_id = database.create_study(name, direction, metric, ABOUT if about is None else about)
    add_trials(database, study_id, trials)
    return find_study(database, name, runs)

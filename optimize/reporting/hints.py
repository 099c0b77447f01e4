"""Commands that a user can paste where they stand: `make ...` in the folder of this project's Makefile, else `optimize ...`.

It knows how flags are written, not what they mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from shlex import quote

from optimize.config.settings import Settings
from optimize.script.command import RUN

Flags = Mapping[str, object]
"""Flag without its dashes -> value; True stands for a flag without a value, a tuple repeats it, None and False leave it out."""

_TARGETS = {"run": "optimize"}  # of the Makefile, where they have another name than the command
_PROJECT = Path(__file__).parents[2]
_FIELDS = {
    "storage": "storage",
    "study": "study",
    "profile": "profile",
    "workload": "workload",
    "space": "search_space",
}
_TRAINING_FIELDS = {
    "hours": "hours",
    "executor": "executor",
    "slots": "slots",
    "gpus": "gpus",
    "mixed-devices": "mixed_devices",
    "log": "log",
}
_SEARCH_FIELDS = {  # without --from: the study has begun with it
    "trials": "trials",
    "seed": "seed",
    "sampler": "sampler",
    "starts": "starts",
    "pruning": "pruning",
    "advisor": "advisor",
    "advisor-share": "advisor_share",
}


def command_line(command: str, flags: Flags | None = None, number: int | None = None) -> str:
    """Return a command line for the shell in the current folder; `number` is that of the trial it is about."""
    given = _given(flags or {})
    if _has_makefile() and "runs" not in given:  # the Makefile has no variable for it
        shown = {**({} if number is None else {"n": number}), **given}
        words = [f"{name.upper().replace('-', '_')}={_make_text(value)}" for name, value in shown.items()]
        return " ".join(["make", _TARGETS.get(command, command), *words])
    return optimize_command(command, given, number)


def optimize_command(command: str, flags: Flags, number: int | None = None) -> str:
    """Return a command line of `optimize`, for what the Makefile cannot do."""
    words = [
        f"--{name}" if value is True else f"--{name} {_text(value)}"
        for name, values in _given(flags).items()
        for value in (values if isinstance(values, tuple) else (values,))
    ]
    return " ".join(["optimize", command, *([] if number is None else [str(number)]), *words])


def training_command(files: Collection[str]) -> str:
    """Return what trains a trial again in a folder of the files that it left."""
    return f"sh {RUN}" if RUN in files else "python train.py"


def given_flags(settings: Settings, search: bool = False) -> Flags:
    """Return the flags of this call, so that the same command goes on in the same way.

    With `search` also those that only a command that searches has.
    """
    fields = _FIELDS | _TRAINING_FIELDS | (_SEARCH_FIELDS if search else {})
    given: dict[str, object] = {}
    for flag, field in fields.items():
        if settings.origins.get(field) == "flag":
            value = getattr(settings, field)
            given[flag if value is not False else f"no-{flag}"] = True if isinstance(value, bool) else value
    if settings.origins.get("advisor") == "flag" and search and settings.advisor is None:
        given["advisor"] = "none"
    return {**given, "runs": settings.runs}


def study_flags(settings: Settings) -> Flags:
    """Return the flags by which a command finds the stored study."""
    storage = settings.storage if settings.origins.get("storage") == "flag" else None
    return {"study": settings.study, "storage": storage, "runs": settings.runs}


def _given(flags: Flags) -> dict[str, object]:
    default = ("runs", Settings().runs)
    return {n: v for n, v in flags.items() if v is not None and v is not False and (n, v) != default}


def _make_text(value: object) -> str:
    """A Makefile's variable holds several values with a blank between."""
    return _text(1 if value is True else " ".join(map(str, value)) if isinstance(value, tuple) else value)


def _text(value: object) -> str:
    return quote(str(value))


def _has_makefile() -> bool:
    return Path.cwd() == _PROJECT and Path("Makefile").is_file()

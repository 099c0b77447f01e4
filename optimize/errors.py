"""Errors that end a study; each is one line for the user, *where: what. what to do*, and `cli.py` prints just that.

    OptimizeError
    |- SettingsError               an unknown key, a bad flag: all of them at once
    |- WorkloadError               no script, no such constant, data not prepared
    |  `- RenderError              not exactly one assignment
    |- StudyError
    |  |- StudyMismatchError       reopened with another script, space, constants, data or metric
    |  |- StudyBusyError           another driver is alive: host, pid, since when
    |  |- NothingToConfirm         no trial is better than the baseline
    |  |- SpaceExhausted           every feasible configuration has been tried
    |  `- StudyAborted             the environment is broken, or too many failures in a row
    `- ExecutorError               no slot found, a guardian that does not answer

`search_spaces` has its own `SearchSpaceError(ValueError)`, `storage` its `StorageError(RuntimeError)`; neither imports this file.
Endings of a *trial* are values (`trial.Outcome`), not errors.
"""

from __future__ import annotations

from collections.abc import Sequence


class OptimizeError(Exception):
    """Base of everything a user can cause; `problems` are the lines to show."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class SettingsError(OptimizeError):
    pass


class WorkloadError(OptimizeError):
    pass


class RenderError(WorkloadError):
    pass


class StudyError(OptimizeError):
    pass


class StudyMismatchError(StudyError):
    pass


class StudyBusyError(StudyError):
    pass


class NothingToConfirm(StudyError):
    pass


class SpaceExhausted(StudyError):
    pass


class StudyAborted(StudyError):
    pass


class ExecutorError(OptimizeError):
    pass
